"""The cost contract: tokens through forward passes, counted by hooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from reason_decode import BestOfN, ReasoningOutput, SelfConsistency, StepSearch
from reason_decode.scorers import TokenClassification
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

PROMPT = "Make 36 from 4 5 6 10.\n"
STRATEGIES = ["best of 8", "search", "beam"]


class Counter:
    """Shapes of a model's inputs, and the size of the largest tensor that a module returned."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.largest = 0

    @property
    def tokens(self) -> int:
        return sum(rows * width for rows, width in self.shapes)


@contextmanager
def counted(model: nn.Module) -> Iterator[Counter]:
    counter = Counter()

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        counter.shapes.append((ids.shape[0], ids.shape[1]))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            counter.largest = max(counter.largest, output.numel())

    handles = [model.register_forward_pre_hook(before, with_kwargs=True)]
    handles += [module.register_forward_hook(after) for module in model.modules()]
    yield counter
    for handle in handles:
        handle.remove()


def _strategy(tiny: Tiny, name: str) -> Strategy:
    if name == "best of 8":
        return BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=8)
    width = 3 if name == "beam" else 1
    return StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=width)


def _run(tiny: Tiny, strategy: Strategy) -> tuple[ReasoningOutput, Counter, Counter]:
    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    torch.manual_seed(0)
    with counted(tiny.model) as generator, counted(tiny.prm.model) as scorer:
        out = tiny.model.generate(
            **inputs,
            max_new_tokens=100,
            do_sample=True,
            custom_generate=strategy,
            return_dict_in_generate=True,
        )
    assert isinstance(out, ReasoningOutput)
    return out, generator, scorer


@pytest.mark.parametrize("name", STRATEGIES)
def test_prompts_are_prefilled_once_per_role(tiny: Tiny, name: str) -> None:
    _, generator, scorer = _run(tiny, _strategy(tiny, name))
    width = len(tiny.tokenizer(PROMPT)["input_ids"])
    assert generator.shapes[0] == (1, width)
    assert scorer.shapes[0] == (1, width)
    assert all(later == 1 for _, later in generator.shapes[1:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_reported_cost_equals_the_tokens_of_forward_passes(tiny: Tiny, name: str) -> None:
    out, generator, _ = _run(tiny, _strategy(tiny, name))
    assert out.cost is not None
    assert generator.tokens == out.cost.prefill + out.cost.decode


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_sampled_token_is_read_twice(tiny: Tiny, name: str) -> None:
    """Each token is fed back at most once, also after branches; the last of a row never is."""
    out, generator, _ = _run(tiny, _strategy(tiny, name))
    assert out.cost is not None
    assert generator.tokens - out.cost.prefill < out.cost.sampled


def test_finished_candidates_leave_the_batch(tiny: Tiny) -> None:
    """Each candidate of best-of-8 costs its own length minus one, not that of the longest."""
    out, generator, _ = _run(tiny, _strategy(tiny, "best of 8"))
    assert out.traces is not None
    lengths = [candidate.tokens for candidate in out.traces[0].candidates]
    assert len(set(lengths)) > 1
    assert sum(rows for rows, _ in generator.shapes[1:]) == sum(lengths) - len(lengths)


def test_finished_trajectories_leave_the_beam(tiny: Tiny) -> None:
    out, generator, _ = _run(tiny, _strategy(tiny, "beam"))
    assert out.traces is not None
    rounds = out.traces[0].rounds
    alive = [sum(step.kept and not step.finished for step in round_) for round_ in rounds]
    assert max(rows for rows, _ in generator.shapes) <= 4 * max(alive)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_scorer_reads_each_candidate_token_once(tiny: Tiny, name: str) -> None:
    out, _, scorer = _run(tiny, _strategy(tiny, name))
    assert out.cost is not None and out.traces is not None
    width = len(tiny.tokenizer(PROMPT)["input_ids"])
    trace = out.traces[0]
    texts = [step.text for round_ in trace.rounds for step in round_ if step.score is not None]
    if name == "best of 8":
        texts = [step for steps in {c.steps for c in trace.candidates} for step in steps]
    pieces = [tiny.tokenizer(text + "\n", add_special_tokens=False)["input_ids"] for text in texts]
    assert out.cost.scorer == width + sum(map(len, pieces))
    assert scorer.tokens >= out.cost.scorer


def test_scoring_never_holds_a_tokens_by_vocabulary_matrix(tiny: Tiny) -> None:
    """With a vocabulary so large that such a matrix would be the largest tensor."""
    from transformers import LlamaForTokenClassification

    config = tiny.prm.model.config.__class__.from_dict(
        {**tiny.prm.model.config.to_dict(), "vocab_size": 20_000, "num_labels": 2}
    )
    prm = TokenClassification(LlamaForTokenClassification(config), tiny.tokenizer)
    solution = "10 - 4 = 6 (left: 5 6 6)\n" * 20
    with counted(prm.model) as counter:
        prm.score([PROMPT] * 4, [solution] * 4)
    assert 0 < counter.largest < 4 * 20 * 20_000
    assert counter.largest <= counter.tokens * config.intermediate_size


def test_sampling_alone_needs_no_scorer(tiny: Tiny) -> None:
    out, _, scorer = _run(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=4))
    assert out.cost is not None
    assert out.cost.scorer == 0 == scorer.tokens


def test_a_cache_that_the_caller_passes_in_is_not_changed(tiny: Tiny) -> None:
    from transformers import DynamicCache

    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    cache = DynamicCache(config=tiny.model.config)
    tiny.model(inputs["input_ids"][:, :-1], past_key_values=cache)
    seen = cache.get_seq_length()
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=3)
    torch.manual_seed(0)
    with counted(tiny.model) as generator:
        out = tiny.model.generate(
            **inputs,
            past_key_values=cache,
            max_new_tokens=60,
            do_sample=True,
            custom_generate=strategy,
        )
    assert generator.shapes[0] == (1, 1)
    assert cache.get_seq_length() == seen
    torch.manual_seed(0)
    again = tiny.model.generate(
        **inputs, max_new_tokens=60, do_sample=True, custom_generate=strategy
    )
    assert torch.equal(out, again)
