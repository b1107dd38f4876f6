"""``check_strategy`` passes our strategies and finds the law that a broken one breaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from reason_decode import BestOfN, ParticleFilter, RationaleGuided, SelfConsistency, StepSearch
from reason_decode.core.solutions import Cost, Trace
from reason_decode.generation.interface import Generation
from reason_decode.strategies.base import Strategy
from reason_decode.testing import LawBroken, check_strategy
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]

OURS: dict[str, Callable[[Tiny, int], Strategy]] = {
    "best of n": lambda t, n: BestOfN(t.prm, tokenizer=t.tokenizer, n=n),
    "vote": lambda t, n: SelfConsistency(tokenizer=t.tokenizer, n=n),
    "weighted vote": lambda t, n: SelfConsistency(tokenizer=t.tokenizer, n=n, scorer=t.prm),
    "search": lambda t, n: StepSearch(t.prm, tokenizer=t.tokenizer, n=n),
    "beam": lambda t, n: StepSearch(t.prm, tokenizer=t.tokenizer, n=n, beam_width=n),
    "lookahead": lambda t, n: StepSearch(t.prm, tokenizer=t.tokenizer, n=n, lookahead=1),
    "particles": lambda t, n: ParticleFilter(t.prm, tokenizer=t.tokenizer, n=n),
    "rationales": lambda t, n: RationaleGuided(t.rationalyst, tokenizer=t.tokenizer, n=n),
}


SLOW = ("rationales", "lookahead")


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*(x for x in OURS if x not in SLOW), *map(slow, SLOW)])
def test_our_strategies_keep_the_laws(tiny: Tiny, name: str) -> None:
    check_strategy(
        lambda n: OURS[name](tiny, n), tiny.model, tiny.tokenizer, PROMPTS, max_new_tokens=28
    )


Result = tuple[Any, list[Trace], Cost]


def other_tokens(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """The last token is another one."""
    changed = sequences.clone()
    changed[:, -1] = 5
    return changed, traces, cost


def no_traces(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """None at all."""
    return sequences, [], cost


def other_choice(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """The trace names another text than the sequence."""
    bad = replace(traces[0].best, text="something else")
    return sequences, [replace(t, candidates=(bad,), chosen=(0,)) for t in traces], cost


def no_choice(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """An index behind the last candidate."""
    return sequences, [replace(t, chosen=(99,)) for t in traces], cost


def infinite_totals(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """Totals are infinite."""
    return (
        sequences,
        [
            replace(t, candidates=tuple(replace(c, total=torch.inf) for c in t.candidates))
            for t in traces
        ],
        cost,
    )


def no_cost(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
    """Nothing is counted."""
    return sequences, traces, Cost()


@dataclass(frozen=True, eq=False)
class Broken(BestOfN):
    """``BestOfN`` whose result is changed."""

    change: Callable[..., Result] = no_cost

    def run(self, generation: Generation, prompts: Sequence[str]) -> Result:
        return self.change(*super().run(generation, prompts))


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (other_tokens, "a batch with 0 columns of padding gives the tokens of plain generate"),
        (no_traces, "one trace a prompt: got 0 for 2 prompts"),
        (no_choice, r"chosen are indices of candidates: got \(99,\)"),
        (other_choice, "the sequence is the best candidate: .* 'something else'"),
        (infinite_totals, "scores, totals and votes are finite"),
        (no_cost, "the cost counts what was read and sampled"),
    ],
)
def test_a_broken_law_is_named(tiny: Tiny, change: Callable[..., Result], law: str) -> None:
    def make(n: int) -> Broken:
        return Broken(tiny.prm, tokenizer=tiny.tokenizer, n=n, change=change)

    with pytest.raises(LawBroken, match=law):
        check_strategy(make, tiny.model, tiny.tokenizer, PROMPTS, max_new_tokens=12)


def test_state_between_calls_is_found(tiny: Tiny) -> None:
    calls: list[int] = []

    def keep_state(sequences: Any, traces: list[Trace], cost: Cost) -> Result:
        # 8 calls compare with plain generation; the second of the next two differs.
        calls.append(1)
        return sequences[:, : -1 if len(calls) == 10 else None], traces, cost

    def make(n: int) -> Broken:
        return Broken(tiny.prm, tokenizer=tiny.tokenizer, n=n, change=keep_state)

    with pytest.raises(LawBroken, match="the same seed gives the same tokens"):
        check_strategy(make, tiny.model, tiny.tokenizer, PROMPTS, max_new_tokens=12)


def test_prompts_of_equal_lengths_are_refused(tiny: Tiny) -> None:
    """They would test no padding."""
    with pytest.raises(ValueError, match="two different lengths"):
        check_strategy(lambda n: OURS["vote"](tiny, n), tiny.model, tiny.tokenizer, ["a\n", "b\n"])
