import pytest
import torch

from reason_decode.core.steps import StepSplitter
from reason_decode.scorers.checks import check_finite, to_steps


def test_infinite_scores_are_named() -> None:
    with pytest.raises(ValueError, match="got score inf for step 1 of b"):
        check_finite([torch.ones(1), torch.tensor([0.0, float("inf")])], ["a", "b"])


def test_lists_of_steps_are_taken_as_they_are() -> None:
    assert to_steps(["a\nb", ["a\nb"]], StepSplitter()) == [["a", "b"], ["a\nb"]]
