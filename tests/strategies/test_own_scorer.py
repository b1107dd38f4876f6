"""Strategies over a scorer that a user wrote with ``score`` and ``score_space`` alone.

The bug: a scorer of log-probabilities, written to the documented protocol, made ``BestOfN`` return
the worst candidate without a word. The default ``reduce="prod"`` multiplied negative numbers, whose
product is the greater the worse they are; ``SelfConsistency`` took such products for weights, too.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces
from torch import Tensor

from reason_decode import BestOfN, RationaleGuided, Scorer, SelfConsistency, StepSearch
from reason_decode.scorers.base import ScoreSpace
from reason_decode.strategies import BestOfNSelector
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


class LogProbabilities(Scorer):
    """The packaged verifier's probabilities, as logarithms."""

    score_space: ScoreSpace = "log_probability"

    def __init__(self, tiny: Tiny) -> None:
        self.prm = tiny.prm

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        return [x.log() for x in self.prm.score(prompts, solutions)]


class Rewards(LogProbabilities):
    """The same as rewards of any size: monotone in the probability, negative below 1/2."""

    score_space: ScoreSpace = "reward"

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        return [20 * x - 10 for x in self.prm.score(prompts, solutions)]


class Given(Scorer):
    """Reads each step's score off its text."""

    def __init__(self, score_space: ScoreSpace) -> None:
        self.score_space = score_space

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        return [torch.tensor([float(step) for step in steps]) for steps in solutions]


def choose(scorer: Scorer, *texts: str, reduce: Any = None) -> str:
    selector = BestOfNSelector(scorer, reduce=reduce)
    (trace,), _ = selector.select(["p"], [[selector.candidate(text) for text in texts]])
    return trace.best.text


@pytest.mark.parametrize("space", ["log_probability", "reward"])
def test_best_of_n_chooses_the_greatest_not_the_worst(space: ScoreSpace) -> None:
    assert choose(Given(space), "-9\n-9", "-0.1\n-0.1") == "-0.1\n-0.1"
    for reduce in ("mean", "min", "last", "sum"):
        assert choose(Given(space), "-9\n-9", "-0.1\n-0.1", reduce=reduce) == "-0.1\n-0.1"


@pytest.mark.parametrize("space", ["log_probability", "reward"])
def test_a_candidate_without_steps_never_beats_one_with_steps(space: ScoreSpace) -> None:
    """It once had the total 0, which is more than any log-probability."""
    assert choose(Given(space), "", "-9\n-9") == "-9\n-9"


@pytest.mark.parametrize("space", ["log_probability", "reward"])
def test_a_product_of_negative_numbers_is_refused_before_any_work(
    tiny: Tiny, space: ScoreSpace
) -> None:
    for make in (BestOfN, StepSearch):
        with pytest.raises(ValueError, match="reduce='prod' for .*'mean', 'min' or 'last'"):
            make(Given(space), tokenizer=tiny.tokenizer, reduce="prod")
    with pytest.raises(ValueError, match="reduce='prod' for"):
        SelfConsistency(tokenizer=tiny.tokenizer, scorer=Given(space), reduce="prod")


@pytest.mark.parametrize("kind", [LogProbabilities, Rewards])
def test_best_of_n_returns_the_candidate_of_the_greatest_total(
    tiny: Tiny, kind: type[LogProbabilities]
) -> None:
    out = generate(
        tiny, BestOfN(kind(tiny), tokenizer=tiny.tokenizer, n=6), PROMPTS, max_new_tokens=60
    )
    for trace in traces(out):
        assert total(trace.best) == max(map(total, trace.candidates))
        assert len({total(c) for c in trace.candidates}) > 1


def test_the_sum_of_log_probabilities_chooses_as_the_product_of_probabilities(tiny: Tiny) -> None:
    ours = BestOfN(LogProbabilities(tiny), tokenizer=tiny.tokenizer, n=6, reduce="sum")
    theirs = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=6)
    chosen = [
        [x.chosen for x in traces(generate(tiny, s, PROMPTS, max_new_tokens=60))]
        for s in (ours, theirs)
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("lookahead", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [LogProbabilities, Rewards])
def test_step_search_keeps_the_same_steps_under_any_monotone_score(
    tiny: Tiny, kind: type[LogProbabilities], lookahead: int
) -> None:
    """A session that rescores whole trajectories finds what the cached one of the model finds."""
    settings: dict[str, Any] = {"n": 3, "beam_width": 2, "lookahead": lookahead}
    out = [
        generate(
            tiny,
            StepSearch(scorer, tokenizer=tiny.tokenizer, **settings),
            PROMPTS,
            max_new_tokens=60,
        )
        for scorer in (kind(tiny), tiny.prm)
    ]
    assert torch.equal(out[0].sequences, out[1].sequences)


def test_votes_are_weighted_by_the_exponential_of_log_probabilities(tiny: Tiny) -> None:
    ours = SelfConsistency(
        tokenizer=tiny.tokenizer, n=6, scorer=LogProbabilities(tiny), reduce="sum"
    )
    theirs = SelfConsistency(tokenizer=tiny.tokenizer, n=6, scorer=tiny.prm)
    for ours_, theirs_ in zip(
        traces(generate(tiny, ours, PROMPTS, max_new_tokens=60)),
        traces(generate(tiny, theirs, PROMPTS, max_new_tokens=60)),
        strict=True,
    ):
        assert ours_.chosen == theirs_.chosen
        # The greatest weight is 1: all weights of a vote may be scaled alike.
        scale = max(map(total, theirs_.candidates))
        expected = {answer: weight / scale for answer, weight in theirs_.votes.items()}
        assert ours_.votes == pytest.approx(expected, rel=1e-5)


def test_rewards_weight_votes_only_by_a_formula_that_the_caller_names(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="rewards of Rewards .*sigmoid"):
        SelfConsistency(tokenizer=tiny.tokenizer, scorer=Rewards(tiny))
    vote = SelfConsistency(
        tokenizer=tiny.tokenizer, n=4, scorer=Rewards(tiny), vote_weighting="sigmoid(s)"
    )
    for trace in traces(generate(tiny, vote, PROMPTS, max_new_tokens=60)):
        assert all(0 <= weight <= 4 for weight in trace.votes.values())


def test_rationale_guidance_needs_a_scorer_that_writes_rationales(tiny: Tiny) -> None:
    scorer: Any = LogProbabilities(tiny)
    with pytest.raises(ValueError, match="writes no rationales; pass a RationaleScorer"):
        RationaleGuided(scorer, tokenizer=tiny.tokenizer)


def test_a_score_that_is_not_a_number_names_its_candidate() -> None:
    with pytest.raises(ValueError, match="score nan for step 1 of candidate 1"):
        choose(Given("reward"), "1\n2", "3\nnan")
