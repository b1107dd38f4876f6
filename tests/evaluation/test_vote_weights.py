"""Learnt weights of votes: a formula that goes wherever a weighting goes."""

from random import Random

import pytest

from reason_decode import SelfConsistency
from reason_decode.core.vote_formula import LearnedWeights
from reason_decode.core.voting import check_vote_weighting, vote_weights
from reason_decode.evaluation.curves import SamplePool
from reason_decode.evaluation.vote_weights import (
    fit_vote_weights,
    vote_weights_report,
    weighted_accuracy,
)
from reason_decode.tiny import Tiny


def pools(informative: bool, problems: int = 60) -> list[SamplePool]:
    """Problems in which a wrong answer has most votes, and right ones higher scores or any."""
    random, found = Random(0), []
    for _ in range(problems):
        correct = [False] * 5 + [True] * 3
        scores = [
            (0.8 if right and informative else 0.2) + random.uniform(0, 0.2) for right in correct
        ]
        found.append(SamplePool(correct, [0] * 5 + [1] * 3, {"score": scores}))
    return found


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (LearnedWeights(0.0, 2.5, 0.0), "sigmoid(2.5*s+0)"),
        (LearnedWeights(1.0, -3e-7, -12.25), "1+sigmoid(-3e-07*s-12.25)"),
        (LearnedWeights(20.0, 1.5e12, 3.0), "20+sigmoid(1.5e12*s+3)"),
    ],
)
def test_a_formula_is_read_as_it_was_written(weights: LearnedWeights, text: str):
    assert str(weights) == text and LearnedWeights.parse(text) == weights
    check_vote_weighting(text)
    assert vote_weights([0.5], text) == weights.weights([0.5])


def test_a_scorer_that_knows_outvotes_a_majority_and_one_that_does_not_leaves_it():
    knowing, noise = fit_vote_weights(pools(True)), fit_vote_weights(pools(False))
    assert all(weighted_accuracy(p, knowing.weights([*p.scores["score"]])) for p in pools(True))
    # Where the score says nothing, the greatest base is taken: the plain vote.
    assert noise.base == 20.0
    report = vote_weights_report(pools(True))
    assert report["vote"]["accuracy"] == 0.0 and report["learnt"]["accuracy"] == 1.0
    assert report["learnt"]["beside_vote"] == [1.0, 1.0, 1.0]


def test_answers_that_tie_share_a_problem_and_the_unanswered_do_not_vote():
    pool = SamplePool([True, False, False], [0, 1, None], {"score": [1.0, 1.0, 9.0]})
    assert weighted_accuracy(pool, [1.0, 1.0, 9.0]) == 0.5
    assert weighted_accuracy(SamplePool([False], [None]), [1.0]) == 0.0


def test_a_strategy_takes_the_formula_and_refuses_another(tiny: Tiny):
    vote = SelfConsistency(
        tokenizer=tiny.tokenizer, n=2, scorer=tiny.prm, vote_weighting="0.5+sigmoid(3*s-1)"
    )
    response = vote.complete(tiny.model, "Make 24 from 4 5 6 10.\n", max_new_tokens=96)
    # Every vote weighs at least the base.
    assert all(weight >= 0.5 for weight in response.trace.votes.values())
    assert response.trace.votes
    with pytest.raises(ValueError, match=r"got vote_weighting='s\*2'; allowed are s, 1\+s"):
        SelfConsistency(tokenizer=tiny.tokenizer, n=2, scorer=tiny.prm, vote_weighting="s*2")
