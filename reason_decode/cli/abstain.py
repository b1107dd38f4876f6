"""Probabilities of answers, in the rows of commands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reason_decode.cli.calibration_configs import AbstainOptions
from reason_decode.evaluation.answer_calibration import AnswerCalibration, answered_accuracy

__all__ = ["answered", "judge_of"]


def judge_of(options: AbstainOptions) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function from a row to its ``probability`` and ``abstained``; to nothing without options.

    Raises:
        OSError: the calibration cannot be read.
        ValueError: the file holds none.
    """
    if options.calibration is None:
        return lambda row: {}
    calibration = AnswerCalibration.load(options.calibration)
    return lambda row: calibration.judge(row, options.abstain_below)


def answered(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``answered_accuracy`` of the rows that are not held back, as a field of a result."""
    if not any("abstained" in row for row in rows):
        return {}
    return {"answered": answered_accuracy([x["correct"] for x in rows if not x["abstained"]])}
