from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from reason_decode.cli import main, options, rationales
from reason_decode.strategies import BestOfN, RationaleGuided, SelfConsistency, StepSearch
from tests.fakes import ByteTokenizer, TableScorer

SCORER = TableScorer(lambda step: 1.0)
# Of whole solutions.
JUDGE = TableScorer(lambda step: 1.0)


def parsed(*argv: str) -> Namespace:
    parser = ArgumentParser()
    options.add_decoding(parser, strategy="best-of-n")
    return parser.parse_args(argv)


def made(monkeypatch: pytest.MonkeyPatch, *argv: str) -> Any:
    monkeypatch.setattr(options, "load_scorer", lambda name: SCORER)
    monkeypatch.setattr(options, "load_verifier", lambda name: JUDGE)
    tokenizer: Any = ByteTokenizer()
    return options.make_strategy(parsed(*argv), tokenizer)


def test_options_make_strategies(monkeypatch: pytest.MonkeyPatch):
    best = made(monkeypatch, "--n", "3")
    assert isinstance(best, BestOfN) and (best.n, best.scorer) == (3, JUDGE)
    search = made(monkeypatch, "--strategy", "step-search", "--beam-width", "2", "--margin", "0.5")
    assert isinstance(search, StepSearch)
    assert (search.n, search.beam_width, search.margin) == (8, 2, 0.5)
    assert search.scorer is SCORER
    assert (best.reduce, search.reduce) == ("prod", "last")
    assert made(monkeypatch, "--reduce", "min").reduce == "min"
    assert made(monkeypatch, "--strategy", "greedy") is None
    assert made(monkeypatch, "--strategy", "sample") is None


def test_every_option_reaches_its_strategy(monkeypatch: pytest.MonkeyPatch):
    wide = ["--beam-width", "4", "--subtrees", "2", "--lookahead", "1", "--max-tokens", "900"]
    search = made(monkeypatch, "--strategy", "step-search", *wide)
    assert (search.subtrees, search.lookahead, search.max_tokens) == (2, 1, 900)
    assert made(monkeypatch, "--max-tokens", "900").max_tokens == 900
    early = ["--strategy", "self-consistency", "--stop"]
    vote = made(monkeypatch, *early, "0.9", "--weigh", "prm")
    assert (vote.early_stop, vote.scorer) == (0.9, JUDGE)
    assert made(monkeypatch, *early, "decided").early_stop == "decided"


def test_rationales_guide_as_a_scorer_or_a_strategy(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, str | None]] = []

    def load(name: str, judge: str | None, **how: Any) -> TableScorer:
        asked.append((name, judge))
        return SCORER

    monkeypatch.setattr(rationales, "load_rationalyst", load)
    monkeypatch.setattr(SCORER, "writer", object(), raising=False)
    guided = made(monkeypatch, "--strategy", "rationale-guided", "--supervision", "explicit")
    assert isinstance(guided, RationaleGuided)
    assert (guided.n, guided.supervision, guided.rationalyst) == (8, "explicit", SCORER)
    best = made(monkeypatch, "--scorer", "rationale", "--judge", "tiny")
    assert isinstance(best, BestOfN) and (best.scorer, best.reduce) == (SCORER, "mean")
    assert made(monkeypatch, "--scorer", "rationale", "--reduce", "min").reduce == "min"
    assert asked == [("tiny", None), ("tiny", "tiny"), ("tiny", None)]


def test_a_vote_loads_no_scorer(monkeypatch: pytest.MonkeyPatch):
    for load in ("load_scorer", "load_verifier"):
        monkeypatch.setattr(options, load, lambda name: pytest.fail(f"loaded {name}"))
    tokenizer: Any = ByteTokenizer()
    vote = options.make_strategy(parsed("--strategy", "self-consistency", "--n", "5"), tokenizer)
    assert isinstance(vote, SelfConsistency) and vote.n == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--n", "0"], "got --n 0; need at least 1"),
        (["--temperature", "0"], "best-of-n samples and needs a temperature above 0"),
        (["--temperature", "nan"], "got --temperature nan"),
        (["--beam-width", "2"], "only step-search has a beam"),
        (["--margin", "0.5"], "only step-search drops trajectories"),
        (["--subtrees", "2"], "only step-search has subtrees"),
        (["--stop", "0.9"], "got --stop 0.9 with best-of-n; only self-consistency stops early"),
        (["--weigh", "prm"], "only self-consistency weighs votes"),
        (["--strategy", "sample", "--max-tokens", "9"], "only best-of-n and .* have a budget"),
        (["--strategy", "greedy", "--scorer", "rationale"], "are guided by a scorer"),
        (["--supervision", "explicit"], "only rationale-guided is supervised by rationales"),
        (["--max-tokens", "0"], "got --max-tokens 0; need at least 1"),
        (["--strategy", "greedy", "--reduce", "min"], "only best-of-n and step-search reduce"),
    ],
)
def test_options_that_do_not_go_together_are_refused(argv: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        options.check_decoding(parsed(*argv))


def test_greedy_needs_no_temperature():
    options.check_decoding(parsed("--strategy", "greedy", "--temperature", "0"))


@pytest.mark.parametrize("argv", [[], ["fly"], ["eval", "--task", "chess"], ["demo", "--n", "x"]])
def test_argparse_refuses_what_it_does_not_know(argv: list[str]):
    with pytest.raises(SystemExit, match="2"):
        main(argv)


def test_unusable_input_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]):
    assert main(["rerank", "--input", "no such file", "--task", "game24"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("reason-decode rerank: ") and err.count("\n") == 1
