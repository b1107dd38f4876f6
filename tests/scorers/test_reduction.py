"""One number from the scores of steps, and the weight of a vote, in each score space."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.reduction import (
    Reduce,
    check_reduce,
    default_reduce,
    reduce_scores,
    resolve_vote_weighting,
)

SPACES: list[ScoreSpace] = ["probability", "log_probability", "reward"]


class Fixed(Scorer):
    """A scorer of any space that scores nothing."""

    def __init__(self, score_space: ScoreSpace) -> None:
        self.score_space = score_space

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        raise AssertionError


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("prod", [0.25, 0.0]),
        ("min", [0.5, 0.0]),
        ("last", [0.5, 0.0]),
        ("mean", [0.5, 0.0]),
        ("sum", [1.0, 0.0]),
    ],
)
def test_reductions_and_the_empty_solution(reduce: Reduce, expected: list[float]) -> None:
    scores = [torch.tensor([0.5, 0.5]), torch.zeros(0)]
    assert reduce_scores(scores, reduce).tolist() == expected


def test_no_solutions_reduce_to_no_numbers() -> None:
    assert reduce_scores([]).tolist() == []


def test_unknown_reductions_are_refused() -> None:
    reduce: Any = "max"
    with pytest.raises(ValueError, match="got reduce='max'; allowed are prod, min, last, mean, su"):
        reduce_scores([torch.ones(1)], reduce)


@pytest.mark.parametrize("space", SPACES)
def test_the_default_reduction_prefers_the_better_steps(space: ScoreSpace) -> None:
    """The product of two log-probabilities is greater, the less probable both are."""
    good, bad = {
        "probability": (0.9, 0.1),
        "log_probability": (-0.1, -9.0),
        "reward": (1.0, -9.0),
    }[space]
    reduce = default_reduce(Fixed(space))
    scores = [torch.tensor([good, good]), torch.tensor([bad, bad]), torch.zeros(0)]
    first, second, empty = reduce_scores(scores, reduce, space).tolist()
    assert first > second > empty


@pytest.mark.parametrize("space", ["log_probability", "reward"])
def test_only_probabilities_are_multiplied(space: ScoreSpace) -> None:
    check_reduce("prod", Fixed("probability"))
    check_reduce(None, Fixed(space))
    with pytest.raises(ValueError, match=r"got reduce='prod' for .* of Fixed.*'mean', 'min'"):
        check_reduce("prod", Fixed(space))
    with pytest.raises(ValueError, match="got reduce='prod'"):
        reduce_scores([torch.ones(1)], "prod", space)


def test_a_vote_weighs_a_probability_whatever_the_space_is() -> None:
    assert resolve_vote_weighting(None, Fixed("probability")) == "s"
    assert resolve_vote_weighting(None, Fixed("log_probability")) == "exp(s)"
    assert resolve_vote_weighting("sigmoid(s)", Fixed("reward")) == "sigmoid(s)"
    ranker = Fixed("probability")
    ranker.vote_weighting = "1+s"
    assert resolve_vote_weighting(None, ranker) == "1+s"
    assert resolve_vote_weighting("s", ranker) == "s"


def test_votes_are_not_weighed_by_what_may_be_negative() -> None:
    with pytest.raises(ValueError, match=r"got rewards of Fixed .* pass vote_weighting='sigmoid"):
        resolve_vote_weighting(None, Fixed("reward"))
    with pytest.raises(ValueError, match="log-probabilities of Fixed, which are negative"):
        resolve_vote_weighting("1+s", Fixed("log_probability"))
