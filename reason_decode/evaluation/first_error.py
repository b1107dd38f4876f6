"""First errors of solutions: prediction from step scores, calibrated thresholds, metrics.

A first error is the index of a step, from 0; ``None`` means that every step is right. Step scores
are one number per step, higher is better; ``None`` is the score of a step that was not scored,
which is never predicted.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, get_args

from reason_decode.core.options import Maximise
from reason_decode.evaluation.metrics import accuracy_interval

__all__ = ["StepScores", "best_threshold", "first_below", "first_error_metrics"]

StepScores = Sequence[float | None]


def first_below(scores: StepScores, threshold: float) -> int | None:
    """Index of the first step that scores below the threshold; ``None`` if there is none.

    Examples:
        >>> first_below([0.9, 0.4, 0.1], 0.5), first_below([0.9, 0.6], 0.5)
        (1, None)
    """
    return next((k for k, x in enumerate(scores) if x is not None and x < threshold), None)


def best_threshold(
    scores: Sequence[StepScores], first_errors: Sequence[int | None], maximise: Maximise = "f1"
) -> float:
    """The threshold by which ``first_below`` finds the most of the known first errors.

    The first error of a solution is found by the thresholds of one interval: above the score of
    the first wrong step, and at most the lowest score before it. The objective is constant between
    the ends of these intervals. Of all thresholds that reach its maximum this is the middle of the
    widest connected range, which ends at 0 and 1 unless scores lie outside; of equally wide ranges
    the lowest.

    Args:
        scores: the step scores of each solution.
        first_errors: the known first error of each solution.
        maximise: the objective: ``"f1"``, see ``first_error_metrics``, or ``"exact"``, the number
            of first errors found exactly.

    Raises:
        ValueError: ``maximise`` is neither; there are no solutions; for F1, all of them are right
            or all are wrong.

    Source: Zheng et al. 2024, 2412.06559: one threshold of highest F1 on the GSM8K subset for all
        subsets (Qwen/ProcessBench, issue 3).

    Examples:
        >>> best_threshold([[0.9, 0.25], [0.8, 0.75]], [1, None])
        0.5
    """
    if maximise not in get_args(Maximise):
        raise ValueError(f"got maximise={maximise!r}; allowed are {', '.join(get_args(Maximise))}")
    right = sum(k is None for k in first_errors)
    if not first_errors or (maximise == "f1" and right in (0, len(first_errors))):
        raise ValueError(
            f"got {len(first_errors)} solutions, {right} of them without an error, to calibrate "
            "on; need some with and some without one. Calibrate on more, maximise 'exact', or give "
            "the threshold"
        )
    known = [x for row in scores for x in row if x is not None]
    floor, ceiling = min([0.0, *known]), max([1.0, *known])
    # Threshold -> changes of two counts when the threshold rises past it: of the erroneous and of
    # the error-free solutions that are predicted exactly.
    changes: dict[float, list[int]] = {floor: [0, 0], ceiling: [0, 0]}
    for row, k in zip(scores, first_errors, strict=True):
        before = [x for x in row[:k] if x is not None]
        low, high = floor if k is None else row[k], min(before, default=ceiling)
        if low is not None and low < high:
            changes.setdefault(low, [0, 0])[k is None] += 1
            changes.setdefault(high, [0, 0])[k is None] -= 1
    # Running sums of the changes: both numbers between each two neighbouring ends.
    ends = sorted(changes)
    found = accumulate((changes[end] for end in ends), lambda a, b: [a[0] + b[0], a[1] + b[1]])
    totals = len(first_errors) - right, right
    values = [
        sum(hits) if maximise == "exact" else _f1(hits[0], totals[0], hits[1], totals[1])
        for hits in found
    ][:-1]
    best = max(values)
    # Neighbouring intervals that reach the maximum are joined to one range.
    ranges: list[tuple[float, float]] = []
    for (low, high), value in zip(pairwise(ends), values, strict=True):
        if value == best:
            if ranges and ranges[-1][1] == low:
                low = ranges.pop()[0]
            ranges.append((low, high))
    low, high = max(ranges, key=lambda ends: ends[1] - ends[0])
    middle = (low + high) / 2
    return middle if middle > low else high


def first_error_metrics(
    predicted: Sequence[int | None], first_errors: Sequence[int | None]
) -> dict[str, Any]:
    """Accuracy of predicted first errors.

    ``f1 = 2ab / (a + b)``, the metric of ProcessBench, with ``a`` the share of erroneous solutions
    whose first error is predicted exactly and ``b`` the share of error-free solutions for which no
    error is predicted; ``exact`` is the share of both together. The share of an empty group, and F1
    with it, is ``None``.

    Args:
        predicted: the predicted first error of each solution.
        first_errors: the known first error of each solution.

    Returns:
        ``solutions, erroneous, correct`` (counts), ``accuracy_erroneous, accuracy_correct, f1,
        exact, exact_ci95``, and counts of wrong predictions: ``false_alarms`` for error-free
        solutions; ``early``, ``late`` and ``missed`` (no error predicted) for erroneous ones.

    Raises:
        ValueError: no solutions.

    Source: Zheng et al. 2024, 2412.06559.

    Examples:
        >>> metrics = first_error_metrics([1, 0, None, None], [1, 2, None, None])
        >>> metrics["accuracy_erroneous"], metrics["f1"], metrics["early"]
        (0.5, 0.6666666666666666, 1)
    """
    pairs = list(zip(predicted, first_errors, strict=True))
    erroneous = [(guess, k) for guess, k in pairs if k is not None]
    right = len(pairs) - len(erroneous)
    found = sum(guess == k for guess, k in erroneous)
    passed = sum(guess is None and k is None for guess, k in pairs)
    interval = accuracy_interval(found + passed, len(pairs))
    return {
        "solutions": len(pairs),
        "erroneous": len(erroneous),
        "correct": right,
        "accuracy_erroneous": found / len(erroneous) if erroneous else None,
        "accuracy_correct": passed / right if right else None,
        "f1": _f1(found, len(erroneous), passed, right) if right and erroneous else None,
        "exact": (found + passed) / len(pairs),
        "exact_ci95": interval,
        "false_alarms": right - passed,
        "early": sum(guess is not None and guess < k for guess, k in erroneous),
        "late": sum(guess is not None and guess > k for guess, k in erroneous),
        "missed": sum(guess is None for guess, _ in erroneous),
    }


def _f1(found: int, erroneous: int, passed: int, right: int) -> float:
    # A single division of integers, so that equal shares give equal floats.
    both = found * right + passed * erroneous
    return 2 * found * passed / both if both else 0.0
