"""Configs of calibrations: their training, and abstaining by them."""

from dataclasses import dataclass
from typing import Literal, get_args

from reason_decode.core.options import CalibrationMethod, GenerationOptions, check_choice

__all__ = ["AbstainOptions", "CalibrationValue", "TrainCalibrationConfig"]

CalibrationValue = Literal["agreement", "score"]


@dataclass(frozen=True, kw_only=True)
class AbstainOptions:
    """Answers that are held back because they are probably wrong.

    Args:
        calibration: file that ``train calibration`` wrote; rows get the ``probability`` that their
            answer is right.
        abstain_below: probability below which a row is ``abstained``.

    Raises:
        ValueError: a level is no probability, or there is no calibration.
    """

    calibration: str | None = None
    abstain_below: float | None = None

    def __post_init__(self) -> None:
        if self.abstain_below is None:
            return
        if self.calibration is None:
            raise ValueError(
                f"got abstain_below={self.abstain_below} without calibration, which says how "
                "probably an answer is right; make one by `reason-decode train calibration`"
            )
        if not 0 < self.abstain_below <= 1:
            raise ValueError(
                f"got abstain_below={self.abstain_below}; need a probability above 0, at most 1"
            )

    def check_strategy(self, options: GenerationOptions) -> None:
        """Raise if there is a calibration, and a strategy that scores no answers."""
        if self.calibration is not None and not options.compares_candidates:
            raise ValueError(
                f"got calibration={self.calibration} with {options.strategy}, whose answers have "
                "neither agreement nor score: drop it"
            )


@dataclass(frozen=True, kw_only=True)
class TrainCalibrationConfig:
    """Learn how probably an answer is right, from its share of the votes or its score.

    Args:
        input: results that ``eval --output`` wrote, or a table with the columns ``correct`` and
            ``agreement`` or ``score``.
        output: file of the calibration, for ``generate`` and ``eval``.
        value: the number that the probability is made of: ``agreement``, the winner's share of the
            votes, or ``score``, that of the solution.
        method: ``isotonic``, a step function, or ``platt``, a logistic curve, which wants fewer
            answers.
        folds: folds of the report, which tests each answer by the calibration of the others.
        report: write the report as JSON to this file; ``-`` for standard output.
    """

    input: tuple[str, ...]
    output: str
    value: CalibrationValue = "agreement"
    method: CalibrationMethod = "isotonic"
    folds: int = 5
    report: str | None = None

    def __post_init__(self) -> None:
        check_choice(self, "value", get_args(CalibrationValue))
        check_choice(self, "method", get_args(CalibrationMethod))
        if self.folds < 2:
            raise ValueError(f"got folds={self.folds}; need at least 2")
        if not self.input:
            raise ValueError("got no input; name a result of `reason-decode eval --output`")
