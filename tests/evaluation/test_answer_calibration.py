import json
import math
import random
from pathlib import Path

import pytest

from reason_decode.core.options import CalibrationMethod
from reason_decode.evaluation.answer_calibration import (
    AnswerCalibration,
    calibration_report,
    fit_calibration,
)

METHODS: list[CalibrationMethod] = ["isotonic", "platt"]


def _graded(count: int, seed: int) -> tuple[list[float | None], list[bool]]:
    """Shares of votes, of which each is right with a probability of its square."""
    chance = random.Random(seed)
    values = [chance.randrange(1, 9) / 8 for _ in range(count)]
    return [*values], [chance.random() < x * x for x in values]


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_ascend_and_lie_near_the_shares_that_are_right(
    method: CalibrationMethod,
) -> None:
    values, correct = _graded(4000, 0)
    fitted = fit_calibration(values, correct, method=method)
    found = [fitted.probability(k / 100) for k in range(-50, 200)]
    assert found == sorted(found) and 0 < found[0] and found[-1] < 1
    for k in range(1, 9):
        # Five standard deviations of a share of 500; a logistic curve is no square.
        allowed = 5 * math.sqrt(0.25 / 500) + (0.06 if method == "platt" else 0)
        assert abs(fitted.probability(k / 8) - (k / 8) ** 2) < allowed


def test_adjacent_violators_are_pooled() -> None:
    """By hand: 1 of 2 at 0.4 and 0 of 1 at 0.5 become 1 of 3, each with half an answer of each."""
    values = [0.1, 0.4, 0.4, 0.5, 0.9]
    fitted = fit_calibration(values, [False, True, False, False, True])
    assert [(x, p) for x, p in fitted.knots] == [
        (0.1, 0.25),
        (0.4, pytest.approx(1.5 / 4)),
        (0.5, pytest.approx(1.5 / 4)),
        (0.9, 0.75),
    ]
    assert fitted.probability(0.7) == pytest.approx((1.5 / 4 + 0.75) / 2)
    assert fitted.probability(None) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_few_answers_that_are_all_right_give_no_certainty(method: CalibrationMethod) -> None:
    fitted = fit_calibration([1.0, 1.0, 0.9], [True, True, True], method=method)
    assert 0.7 < fitted.probability(1.0) < 0.95


@pytest.mark.parametrize("method", METHODS)
def test_answers_above_a_level_are_right_that_often_on_other_folds(
    method: CalibrationMethod,
) -> None:
    values, correct = _graded(2000, 1)
    report = calibration_report(values, correct, method=method, levels=[0.0, 0.5])
    everything, half = report["levels"]
    assert everything["answered"] == report["answers"] == 2000
    assert report["brier"] < report["brier_constant"]
    assert half["answered"] < 2000 and half["ci95"][1] > 0.5 and half["accuracy"] > 0.5


def test_an_answer_is_not_judged_by_itself() -> None:
    """A value that nobody else has would otherwise be certain of its own label."""
    values, correct = [0.1, 0.2, 0.3, 0.4], [True, False, True, False]
    assert calibration_report(values, correct, folds=4)["brier"] >= 0.25


def test_a_saved_calibration_is_the_same(tmp_path: Path) -> None:
    for method in METHODS:
        fitted = fit_calibration(*_graded(50, 2), method=method, value="score")
        fitted.save(tmp_path / "c.json")
        assert AnswerCalibration.load(tmp_path / "c.json") == fitted
    (tmp_path / "other.json").write_text(json.dumps({"accuracy": 1}))
    with pytest.raises(ValueError, match="other.json holds no calibration .*train calibration"):
        AnswerCalibration.load(tmp_path / "other.json")


def test_answers_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 graded answers with agreement; need at least two"):
        fit_calibration([None, 0.5], [True, False])
    with pytest.raises(ValueError, match="got score that is NaN or infinite"):
        fit_calibration([math.nan, 0.5], [True, False], value="score")
