from typing import Any

import pytest
import torch

from reason_decode.core.steps import StepSplitter
from reason_decode.scorers.base import Reduce, check_finite, reduce_scores, to_steps


@pytest.mark.parametrize(
    ("how", "expected"),
    [("prod", [0.25, 0.0]), ("min", [0.5, 0.0]), ("last", [0.5, 0.0]), ("mean", [0.5, 0.0])],
)
def test_reductions_and_the_empty_solution(how: Reduce, expected: list[float]) -> None:
    scores = [torch.tensor([0.5, 0.5]), torch.zeros(0)]
    assert reduce_scores(scores, how).tolist() == expected


def test_no_solutions_reduce_to_no_numbers() -> None:
    assert reduce_scores([]).tolist() == []


def test_unknown_reduction_is_refused() -> None:
    how: Any = "sum"
    with pytest.raises(ValueError, match="got reduce='sum'; allowed are prod, min, last, mean"):
        reduce_scores([torch.ones(1)], how)


def test_infinite_scores_are_named() -> None:
    with pytest.raises(ValueError, match="got score inf for step 1 of b"):
        check_finite([torch.ones(1), torch.tensor([0.0, float("inf")])], ["a", "b"])


def test_lists_are_taken_as_they_are() -> None:
    assert to_steps(["a\nb", ["a\nb"]], StepSplitter()) == [["a", "b"], ["a\nb"]]
