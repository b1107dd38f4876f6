"""``max_tokens``: the limit is never exceeded, and the best so far is returned."""

from typing import Any

import pytest
from run_strategy import generate, traces

from reason_decode import BestOfN, RationaleGuided, RationaleScorer, SelfConsistency, StepSearch
from reason_decode.scorers import RationaleWriter
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

NAMES = ("best-of-n", "self-consistency", "step-search", "lookahead", "rationale-guided")
PROMPTS = ["Make 20 from 1 1 4 5.\n", "((1 + 2) * (3 - 4)) =\n"]


def _strategy(name: str, tiny: Tiny, max_tokens: int | None) -> Strategy:
    how: dict[str, Any] = {"tokenizer": tiny.tokenizer, "n": 4, "max_tokens": max_tokens}
    if name == "best-of-n":
        return BestOfN(tiny.prm, **how)
    if name == "self-consistency":
        return SelfConsistency(**how)
    if name == "rationale-guided":
        writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=4)
        return RationaleGuided(RationaleScorer(writer, chat=False), **how)
    if name == "lookahead":
        return StepSearch(tiny.prm, beam_width=2, lookahead=1, **how)
    return StepSearch(tiny.prm, beam_width=2, **how)


@pytest.mark.parametrize("max_tokens", [8, 77, 130])
@pytest.mark.parametrize("name", NAMES)
def test_samples_at_most_max_tokens(tiny: Tiny, name: str, max_tokens: int) -> None:
    for prompt in PROMPTS:
        out = generate(tiny, _strategy(name, tiny, max_tokens), [prompt])
        assert out.cost is not None
        assert out.cost.sampled <= max_tokens
        (trace,) = traces(out)
        text = tiny.tokenizer.decode(out.sequences[0], skip_special_tokens=True)
        assert text == prompt + trace.best.text


@pytest.mark.parametrize("name", ["best-of-n", "step-search"])
def test_finished_candidates_beat_those_that_max_tokens_cut_off(tiny: Tiny, name: str) -> None:
    out = generate(tiny, _strategy(name, tiny, 150), PROMPTS, max_new_tokens=100)
    for trace in traces(out):
        finished = [c.finished for c in trace.candidates]
        assert trace.best.finished or not any(finished)
    assert any(not c.finished for trace in traces(out) for c in trace.candidates)


def test_rejects_max_tokens_below_one_per_candidate(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="got max_tokens=7; 8 candidates are sampled side by"):
        StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=2, max_tokens=7)
    with pytest.raises(ValueError, match="got max_tokens=1; 2 candidates"):
        BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=16, max_tokens=1)
