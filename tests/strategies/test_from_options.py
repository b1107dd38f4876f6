from typing import Any

import pytest
from transformers import TextStreamer

from reason_decode.core.options import GenerationOptions, ScorerOptions
from reason_decode.scorers import RationaleScorer
from reason_decode.strategies import (
    BestOfN,
    RationaleGuided,
    SelfConsistency,
    StepSearch,
)
from reason_decode.strategies import from_options as module
from reason_decode.tiny import Tiny
from tests.fakes import ByteTokenizer, TableScorer

STEPS = TableScorer(lambda step: 1.0)
WHOLE = TableScorer(lambda step: 1.0)


def made(monkeypatch: pytest.MonkeyPatch, strategy: Any, **options: Any) -> Any:
    monkeypatch.setattr(
        module,
        "load_scorer",
        lambda name, whole_solutions, **_: WHOLE if whole_solutions else STEPS,
    )
    tokenizer: Any = ByteTokenizer()
    return module.strategy_from_options(GenerationOptions(strategy=strategy, **options), tokenizer)


def test_makes_strategies(monkeypatch: pytest.MonkeyPatch):
    best = made(monkeypatch, "best-of-n", n=3)
    assert isinstance(best, BestOfN) and (best.n, best.scorer) == (3, WHOLE)
    search = made(monkeypatch, "step-search", beam_width=2, margin=0.5)
    assert isinstance(search, StepSearch)
    assert (search.n, search.beam_width, search.margin) == (8, 2, 0.5)
    assert search.scorer is STEPS
    assert (best.reduce, search.reduce) == (None, "last")
    assert made(monkeypatch, "best-of-n", reduce="min").reduce == "min"
    assert made(monkeypatch, "greedy") is None
    assert made(monkeypatch, "sample") is None


def test_every_option_reaches_its_strategy(monkeypatch: pytest.MonkeyPatch):
    wide: dict[str, Any] = {"beam_width": 4, "subtrees": 2, "lookahead": 1, "max_tokens": 900}
    search = made(monkeypatch, "step-search", **wide)
    assert (search.subtrees, search.lookahead, search.max_tokens) == (2, 1, 900)
    assert made(monkeypatch, "best-of-n", max_tokens=900).max_tokens == 900
    scoring = ScorerOptions(scorer="tiny")
    vote = made(monkeypatch, "self-consistency", early_stop=0.9, scoring=scoring)
    assert (vote.early_stop, vote.scorer) == (0.9, WHOLE)
    assert made(monkeypatch, "self-consistency", early_stop="decided").early_stop == "decided"


def test_rationales_guide_as_a_scorer_or_a_strategy(monkeypatch: pytest.MonkeyPatch, tiny: Tiny):
    asked: list[tuple[str, str | None]] = []

    rationalyst = tiny.rationalyst

    def load(name: str, likelihood_model: str | None, **how: Any) -> RationaleScorer:
        asked.append((name, likelihood_model))
        return rationalyst

    monkeypatch.setattr(module, "load_rationale_scorer", load)
    guided = made(monkeypatch, "rationale-guided", supervision="explicit")
    assert isinstance(guided, RationaleGuided)
    assert (guided.n, guided.supervision, guided.rationalyst) == (8, "explicit", rationalyst)
    named = ScorerOptions(scorer="rationale=runs/r", likelihood_model="tiny")
    made(monkeypatch, "rationale-guided", scoring=named)
    made(monkeypatch, "rationale-guided", scoring=ScorerOptions(scorer="rationale"))
    made(monkeypatch, "rationale-guided", scoring=ScorerOptions(scorer="runs/r"))
    assert asked == [("tiny", None), ("runs/r", "tiny"), ("tiny", None), ("runs/r", None)]
    best = made(monkeypatch, "best-of-n", scoring=named)
    assert isinstance(best, BestOfN) and (best.scorer, best.reduce) == (WHOLE, None)
    word = ScorerOptions(scorer="rationale")
    assert made(monkeypatch, "best-of-n", scoring=word, reduce="min").reduce == "min"


def test_a_vote_loads_no_scorer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "load_scorer", lambda name, **_: pytest.fail(f"loaded {name}"))
    tokenizer: Any = ByteTokenizer()
    options = GenerationOptions(strategy="self-consistency", n=5)
    vote = module.strategy_from_options(options, tokenizer)
    assert isinstance(vote, SelfConsistency) and vote.n == 5


def test_a_loaded_scorer_is_not_loaded_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "load_scorer", lambda name, **_: pytest.fail(f"loaded {name}"))
    tokenizer: Any = ByteTokenizer()
    streamer: Any = TextStreamer(tokenizer)
    for strategy in ("best-of-n", "step-search", "particle-filter", "self-consistency"):
        options = GenerationOptions(strategy=strategy, n=3)
        made = module.strategy_with_scorer(options, tokenizer, STEPS, streamer=streamer)
        assert (made.scorer, made.n, made.streamer) == (STEPS, 3, streamer)
