"""The contract of a strategy, and the token budget of a prompt."""

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_strategy import generate, traces
from torch import LongTensor

from reason_decode import BestOfN, RationaleGuided, SelfConsistency, StepSearch
from reason_decode.core.solutions import Candidate, Cost, Trace
from reason_decode.generation.interface import Generation
from reason_decode.models.inputs import decode
from reason_decode.strategies.base import Strategy, TokenBudget, chosen_sequences
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


@dataclass(frozen=True, eq=False)
class Plain(Strategy):
    """A user's strategy: one sample of each prompt."""

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        tokens = [[x.tokens] for x in generation.sample(generation.prefill(), 1)]
        traces: list[Trace] = []
        for prompt, (new,) in zip(prompts, tokens, strict=True):
            text = decode(self.tokenizer, new)
            traces.append(Trace(prompt, "Plain", (Candidate(text, (text,)),), (0,)))
        return chosen_sequences(generation, tokens, traces), traces, generation.cost


def test_a_strategy_needs_only_run(tiny: Tiny) -> None:
    out = generate(tiny, Plain(tokenizer=tiny.tokenizer), PROMPTS)
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    torch.manual_seed(0)
    plain = tiny.model.generate(**inputs, max_new_tokens=120, do_sample=True)
    assert torch.equal(out.sequences, plain)
    assert [trace.prompt for trace in traces(out)] == PROMPTS


def test_a_class_without_run_is_no_strategy(tiny: Tiny) -> None:
    abstract: Any = Strategy
    with pytest.raises(TypeError, match="abstract method '?run"):
        abstract(tokenizer=tiny.tokenizer)


def test_strategies_are_frozen(tiny: Tiny) -> None:
    """One object serves many threads, so nothing may change between calls."""
    tokenizer = tiny.tokenizer
    for strategy in (
        BestOfN(tiny.prm, tokenizer=tokenizer),
        SelfConsistency(tokenizer=tokenizer),
        StepSearch(tiny.prm, tokenizer=tokenizer),
        RationaleGuided(tiny.rationalyst, tokenizer=tokenizer),
    ):
        with pytest.raises(FrozenInstanceError):
            strategy.n = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_a_budget_is_shared_by_the_rows_of_a_prompt() -> None:
    budget = TokenBudget(2, 20)
    rows: Any = SimpleNamespace(remaining_tokens=[9, 9, 9])
    budget.limit(rows, [0, 0, 1], n=2)
    # Prompt 0 has two rows of two candidates each, prompt 1 one row of two.
    assert rows.remaining_tokens == [5, 5, 9]


def test_a_budget_allows_candidates_until_it_is_spent() -> None:
    budget = TokenBudget(2, 20)
    branch: Any = SimpleNamespace(tokens=torch.zeros(9))
    budget.spend(0, [branch, branch])
    assert budget.allows(0, 2) and not budget.allows(0, 3)
    assert budget.allows(1, 20)


def test_no_limit_leaves_everything_as_it_is() -> None:
    budget = TokenBudget(1, None)
    rows: Any = SimpleNamespace(remaining_tokens=[9])
    budget.limit(rows, [0], n=4)
    assert rows.remaining_tokens == [9] and budget.allows(0, 10**9)
