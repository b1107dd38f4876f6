"""Where a solution first goes wrong: the step that its scores tell, a threshold, and the measures.

A step is a place from 0 in a solution; ``None`` means that every step is right. Scores are numbers
a step, higher is better; ``None`` stands for a step that is not scored, and is never picked.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal, get_args

from reason_decode.evaluation.metrics import accuracy_interval

__all__ = ["Maximise", "Scores", "calibrate", "first_below", "location"]

Maximise = Literal["f1", "exact"]
Scores = Sequence[float | None]


def first_below(scores: Scores, threshold: float) -> int | None:
    """The first step whose score is below the threshold; ``None`` where there is none.

    Example:
        >>> first_below([0.9, 0.4, 0.1], 0.5), first_below([0.9, 0.6], 0.5)
        (1, None)
    """
    return next((k for k, x in enumerate(scores) if x is not None and x < threshold), None)


def calibrate(
    scores: Sequence[Scores], wrong: Sequence[int | None], maximise: Maximise = "f1"
) -> float:
    """The threshold under which ``first_below`` finds the most of the known first errors.

    A solution is located by the thresholds of one interval: above the score of its first wrong
    step, and not above any score before it. What is maximised is constant between the ends of
    those intervals. Of all thresholds that reach the maximum it is the middle of the widest
    connected range, which ends at 0 and 1 unless scores lie outside; of equally wide ones the
    lowest.

    Args:
        scores: those of each solution.
        wrong: the first wrong step of each.
        maximise: ``"f1"``, see ``location``, or ``"exact"``, the number of solutions located.

    Raises:
        ValueError: ``maximise`` is neither; there are no solutions; for F1, all of them are right
            or all are wrong.

    Source: Zheng et al. 2024, 2412.06559: one threshold of highest F1 on the GSM8K subset for all
        subsets (Qwen/ProcessBench, issue 3).

    Example:
        >>> calibrate([[0.9, 0.25], [0.8, 0.75]], [1, None])
        0.5
    """
    if maximise not in get_args(Maximise):
        raise ValueError(f"got maximise={maximise!r}; allowed are {', '.join(get_args(Maximise))}")
    right = sum(k is None for k in wrong)
    if not wrong or (maximise == "f1" and right in (0, len(wrong))):
        raise ValueError(
            f"got {len(wrong)} solutions, {right} of them without an error, to calibrate on; need "
            "some with and some without one. Calibrate on more, maximise 'exact', or give the "
            "threshold"
        )
    known = [x for row in scores for x in row if x is not None]
    floor, ceiling = min([0.0, *known]), max([1.0, *known])
    changes: dict[float, list[int]] = {floor: [0, 0], ceiling: [0, 0]}
    for row, k in zip(scores, wrong, strict=True):
        before = [x for x in row[:k] if x is not None]
        low, high = floor if k is None else row[k], min(before, default=ceiling)
        if low is not None and low < high:
            changes.setdefault(low, [0, 0])[k is None] += 1
            changes.setdefault(high, [0, 0])[k is None] -= 1
    ends = sorted(changes)
    found = accumulate((changes[end] for end in ends), lambda a, b: [a[0] + b[0], a[1] + b[1]])
    totals = len(wrong) - right, right
    worth = [
        sum(hits) if maximise == "exact" else _f1(hits[0], totals[0], hits[1], totals[1])
        for hits in found
    ][:-1]
    most = max(worth)
    ranges: list[tuple[float, float]] = []
    for (low, high), value in zip(pairwise(ends), worth, strict=True):
        if value == most:
            if ranges and ranges[-1][1] == low:
                low = ranges.pop()[0]
            ranges.append((low, high))
    low, high = max(ranges, key=lambda ends: ends[1] - ends[0])
    middle = (low + high) / 2
    return middle if middle > low else high


def location(predicted: Sequence[int | None], wrong: Sequence[int | None]) -> dict[str, Any]:
    """How well first errors are located.

    ``f1 = 2ab / (a + b)``, ProcessBench's measure, with ``a`` the share of erroneous solutions
    whose very first error is predicted and ``b`` that of error-free ones where none is; ``exact``
    is the share of both together. A share of nothing is ``None``, and F1 with it.

    Args:
        predicted: a step each.
        wrong: the first wrong step of each.

    Returns:
        ``solutions, erroneous, correct`` (how many), ``accuracy_erroneous, accuracy_correct, f1,
        exact, exact_ci95``, and what the others are: ``false_alarms`` (in error-free ones), and in
        erroneous ones ``early``, ``late`` and ``missed`` (none predicted).

    Raises:
        ValueError: no solutions.

    Source: Zheng et al. 2024, 2412.06559.

    Example:
        >>> measured = location([1, 0, None, None], [1, 2, None, None])
        >>> measured["accuracy_erroneous"], measured["f1"], measured["early"]
        (0.5, 0.6666666666666666, 1)
    """
    pairs = list(zip(predicted, wrong, strict=True))
    erroneous = [(guess, k) for guess, k in pairs if k is not None]
    right = len(pairs) - len(erroneous)
    found = sum(guess == k for guess, k in erroneous)
    passed = sum(guess is None and k is None for guess, k in pairs)
    low_high = accuracy_interval(found + passed, len(pairs))
    return {
        "solutions": len(pairs),
        "erroneous": len(erroneous),
        "correct": right,
        "accuracy_erroneous": found / len(erroneous) if erroneous else None,
        "accuracy_correct": passed / right if right else None,
        "f1": _f1(found, len(erroneous), passed, right) if right and erroneous else None,
        "exact": (found + passed) / len(pairs),
        "exact_ci95": low_high,
        "false_alarms": right - passed,
        "early": sum(guess is not None and guess < k for guess, k in erroneous),
        "late": sum(guess is not None and guess > k for guess, k in erroneous),
        "missed": sum(guess is None for guess, _ in erroneous),
    }


def _f1(found: int, erroneous: int, passed: int, right: int) -> float:
    # One division of whole numbers: equal shares give equal floats.
    both = found * right + passed * erroneous
    return 2 * found * passed / both if both else 0.0
