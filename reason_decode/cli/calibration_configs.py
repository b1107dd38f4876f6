"""Configs of calibrations: their training, and abstaining by them."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from reason_decode.core.options import (
    CalibrationMethod,
    GenerationOptions,
    Reduce,
    ScorerOptions,
    SolutionOptions,
    ThoughtOptions,
    check_choice,
)
from reason_decode.tasks import TaskOptions

__all__ = [
    "AbstainOptions",
    "CalibrationValue",
    "TrainCalibrationConfig",
    "TrainVoteWeightsConfig",
]

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


@dataclass(frozen=True, kw_only=True)
class TrainVoteWeightsConfig:
    """Learn how much the votes of a scorer weigh, from graded samples; print the formula.

    Args:
        input: JSON Lines of a problem, ``samples``, and ``correct`` or ``answer``, as of `rerank`.
        output: write formula and report as JSON to this file; ``-`` for standard output.
        folds: folds of the report, which votes on each problem with the weights of the others.
        reduce: how step scores become the score of a solution (default: ``prod`` of probabilities,
            ``mean`` of log-probabilities, the ``last`` reward).
        problems: the task, which grades the samples.
        scoring: the scorer.
        solutions: where the steps of solutions end.
        thoughts: the thoughts in solutions.
    """

    input: str
    output: str | None = None
    folds: int = 5
    reduce: Reduce | None = None
    problems: TaskOptions = field(default_factory=TaskOptions)
    scoring: ScorerOptions = field(default_factory=ScorerOptions)
    solutions: SolutionOptions = field(default_factory=SolutionOptions)
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)

    def __post_init__(self) -> None:
        check_choice(self, "reduce", (*get_args(Reduce), None))
        if self.folds < 2:
            raise ValueError(f"got folds={self.folds}; need at least 2")
