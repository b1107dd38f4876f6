"""The probability that an answer is right, learnt from graded answers, so that one can abstain."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from reason_decode.core.options import CalibrationMethod
from reason_decode.core.vote_formula import sigmoid
from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.io.jsonl import write_json

__all__ = [
    "AnswerCalibration",
    "answered_accuracy",
    "calibration_report",
    "fit_calibration",
]

_ITERATIONS = 100


@dataclass(frozen=True)
class AnswerCalibration:
    """The probability that an answer is right, given a number such as its share of the votes.

    Args:
        value: name of the number: ``agreement`` or ``score`` in the rows of ``generate``.
        method: form of the calibration.
        knots: of "isotonic", points (value, probability), both ascending; between them the
            probability is interpolated.
        slope: of "platt", ``p = 1 / (1 + exp(-(slope * value + intercept)))``.
        intercept: see ``slope``.
    """

    value: str
    method: CalibrationMethod
    knots: tuple[tuple[float, float], ...] = ()
    slope: float = 0.0
    intercept: float = 0.0

    def probability(self, value: float | None) -> float:
        """The probability that an answer with this value is right; 0 without a value."""
        if value is None:
            return 0.0
        if self.method == "platt":
            return sigmoid(self.slope * value + self.intercept)
        before = [(x, p) for x, p in self.knots if x <= value]
        after = [(x, p) for x, p in self.knots if x >= value]
        if not before or not after:
            return (after[0] if after else before[-1])[1]
        (x0, p0), (x1, p1) = before[-1], after[0]
        return p0 if x1 == x0 else p0 + (p1 - p0) * (value - x0) / (x1 - x0)

    def judge(self, row: Mapping[str, Any], abstain_below: float | None = None) -> dict[str, Any]:
        """The probability that the answer of a row is right, and whether to hold it back.

        Args:
            row: with the number, under its name.
            abstain_below: least probability of an answer that is given; ``None``: any.

        Returns:
            ``probability`` and, with ``abstain_below``, ``abstained``.
        """
        probability = self.probability(row.get(self.value))
        if abstain_below is None:
            return {"probability": probability}
        return {"probability": probability, "abstained": probability < abstain_below}

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "AnswerCalibration":
        """The calibration of a file that ``save`` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no calibration.
        """
        try:
            saved = json.loads(Path(path).read_text(encoding="utf-8"))
            knots = tuple((float(x), float(p)) for x, p in saved["knots"])
            numbers = {name: float(saved[name]) for name in ("slope", "intercept")}
            method = saved["method"]
            if method not in get_args(CalibrationMethod) or (method == "isotonic" and not knots):
                raise ValueError(f"method {method!r} with {len(knots)} knots")
            return cls(str(saved["value"]), method, knots, **numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no calibration ({error!r:.80}); make one by `reason-decode train "
                "calibration`"
            ) from error


def fit_calibration(
    values: Sequence[float | None],
    correct: Sequence[bool],
    *,
    value: str = "agreement",
    method: CalibrationMethod = "isotonic",
) -> AnswerCalibration:
    """The calibration that fits graded answers best.

    "isotonic": the ascending step function of least squares, by pooling adjacent violators, whose
    steps are ``(right + 1/2) / (n + 1)`` of their n answers, so that a few that are all right give
    no certainty. "platt": logistic regression towards ``(n_right + 1) / (n_right + 2)`` of right
    and ``1 / (n_wrong + 2)`` of wrong answers.

    Args:
        values: the number of each answer; ``None``: it has none, and is left out.
        correct: whether each is right.
        value: name of the numbers.
        method: the form.

    Raises:
        ValueError: fewer than two answers with a value, values that are not finite, or lists of
            unequal length.

    Source: Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass
    probability estimates"; Platt 1999, "Probabilistic outputs for support vector machines".

    Examples:
        >>> fitted = fit_calibration([0.2, 0.4, 0.9, 1.0], [False, False, True, True])
        >>> fitted.probability(0.3) < 0.5 < fitted.probability(0.95)
        True
    """
    if method not in get_args(CalibrationMethod):
        raise ValueError(
            f"got method={method!r}; allowed are {', '.join(get_args(CalibrationMethod))}"
        )
    pairs = sorted(
        (x, bool(right)) for x, right in zip(values, correct, strict=True) if x is not None
    )
    if len(pairs) < 2:
        raise ValueError(f"got {len(pairs)} graded answers with {value}; need at least two")
    if not all(math.isfinite(x) for x, _ in pairs):
        raise ValueError(f"got {value} that is NaN or infinite; need finite numbers")
    if method == "platt":
        slope, intercept = _logistic(pairs)
        return AnswerCalibration(value, method, slope=slope, intercept=intercept)
    return AnswerCalibration(value, method, knots=_isotonic(pairs))


def calibration_report(
    values: Sequence[float | None],
    correct: Sequence[bool],
    *,
    method: CalibrationMethod = "isotonic",
    folds: int = 5,
    levels: Sequence[float] = (0.5, 0.7, 0.9),
) -> dict[str, Any]:
    """Errors and accuracies of a calibration on answers that it was not fitted on.

    Each answer gets the probability of a calibration that was fitted on the other folds; answer i
    is in fold ``i mod folds``.

    Args:
        values: see ``fit_calibration``; an answer without a value has probability 0.
        correct: whether each is right.
        method: the form.
        folds: number of folds.
        levels: probabilities below which one abstains.

    Returns:
        ``answers``, ``brier`` (mean squared error of the probabilities), ``brier_constant`` (that
        of the mean accuracy alone), and ``levels``: for each ``level, answered, correct, accuracy,
        ci95`` of the answers at or above it.

    Raises:
        ValueError: there are fewer than two answers outside some fold.
    """
    found: list[float] = [0.0] * len(values)
    for fold in range(folds):
        rest = [i for i in range(len(values)) if i % folds != fold]
        fitted = fit_calibration(
            [values[i] for i in rest], [correct[i] for i in rest], method=method
        )
        for i in range(fold, len(values), folds):
            found[i] = fitted.probability(values[i])
    share = sum(correct) / len(correct)
    return {
        "answers": len(found),
        "brier": sum((p - right) ** 2 for p, right in zip(found, correct, strict=True))
        / len(found),
        "brier_constant": share * (1 - share),
        "levels": [_level(level, found, correct) for level in levels],
    }


def _level(level: float, found: Sequence[float], correct: Sequence[bool]) -> dict[str, Any]:
    kept = [right for p, right in zip(found, correct, strict=True) if p >= level]
    return {"level": level, **answered_accuracy(kept)}


def answered_accuracy(correct: Sequence[bool]) -> Mapping[str, Any]:
    """Count, accuracy and 95 % interval of the answers that were given.

    Args:
        correct: whether each is right; none: nothing was answered.
    """
    right, count = sum(correct), len(correct)
    interval = list(accuracy_interval(right, count)) if count else None
    accuracy = right / count if count else None
    return {"answered": count, "correct": right, "accuracy": accuracy, "ci95": interval}


def _isotonic(pairs: Sequence[tuple[float, bool]]) -> tuple[tuple[float, float], ...]:
    """The first and the last value of each step, with its probability."""
    blocks: list[list[float]] = []  # first value, last value, sum of labels, number of answers
    for x, right in pairs:
        if blocks and blocks[-1][1] == x:
            blocks[-1][2] += right
            blocks[-1][3] += 1
        else:
            blocks.append([x, x, float(right), 1.0])
    pooled = _pool([(first, last, right, n, 0.0) for first, last, right, n in blocks])
    # With half an answer more of each kind, a short step may pass the next one: pooled once more.
    steps = _pool([(first, last, right, n, 1.0) for first, last, right, n, _ in pooled])
    knots = [
        (x, (right + extra / 2) / (n + extra))
        for first, last, right, n, extra in steps
        for x in dict.fromkeys((first, last))
    ]
    return tuple(knots)


_Block = tuple[float, float, float, float, float]
"""First value, last value, right answers, answers, and pairs of half answers that are added."""


def _pool(blocks: Sequence[_Block]) -> list[_Block]:
    """Blocks of ascending means: each that is below the one before is pooled with it."""

    def mean(block: _Block) -> float:
        return (block[2] + block[4] / 2) / (block[3] + block[4])

    pooled: list[_Block] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and mean(pooled[-2]) >= mean(pooled[-1]):
            a, b = pooled[-2:]
            pooled[-2:] = [(a[0], b[1], a[2] + b[2], a[3] + b[3], max(a[4], b[4]))]
    return pooled


def _logistic(pairs: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression, by Newton's method on scaled values."""
    right = sum(label for _, label in pairs)
    wrong = len(pairs) - right
    targets = {True: (right + 1) / (right + 2), False: 1 / (wrong + 2)}
    mean = math.fsum(x for x, _ in pairs) / len(pairs)
    scale = math.sqrt(math.fsum((x - mean) ** 2 for x, _ in pairs) / len(pairs)) or 1.0
    points = [((x - mean) / scale, targets[label]) for x, label in pairs]
    slope, intercept = 0.0, math.log((right + 1) / (wrong + 1))
    for _ in range(_ITERATIONS):
        step = _newton_step(points, slope, intercept)
        slope, intercept = slope + step[0], intercept + step[1]
        if max(map(abs, step)) < 1e-10:
            break
    return slope / scale, intercept - slope * mean / scale


def _newton_step(
    points: Sequence[tuple[float, float]], slope: float, intercept: float
) -> tuple[float, float]:
    """A step of Newton's method, at most 1 in each direction, on the log-likelihood."""
    # A hair of ridge keeps the second derivatives invertible where all values are alike.
    gradient, hessian = [-1e-6 * slope, 0.0], [1e-6, 0.0, 1e-6]
    for x, target in points:
        p = sigmoid(slope * x + intercept)
        gradient[0] += (target - p) * x
        gradient[1] += target - p
        weight = p * (1 - p)
        hessian[0] += weight * x * x
        hessian[1] += weight * x
        hessian[2] += weight
    determinant = hessian[0] * hessian[2] - hessian[1] ** 2
    step = (
        (gradient[0] * hessian[2] - gradient[1] * hessian[1]) / determinant,
        (gradient[1] * hessian[0] - gradient[0] * hessian[1]) / determinant,
    )
    return max(-1.0, min(1.0, step[0])), max(-1.0, min(1.0, step[1]))
