"""Metrics of held-out solutions while a reward model is trained, by its own scores."""

from collections.abc import Sequence

from torch import Tensor

from reason_decode.scorers.base import Scorer
from reason_decode.training.grading import is_right
from reason_decode.training.labelled import LabelledSolution

__all__ = ["first_error_f1", "outcome_metrics", "step_metrics"]

_RIGHT = 0.5
"""Probability from which a step or a solution counts as right."""


def step_metrics(scorer: Scorer, solutions: Sequence[LabelledSolution]) -> dict[str, float]:
    """``first_error_f1`` and ``step_accuracy`` of a process reward model; empty without labels.

    Args:
        scorer: gives the probability of each step.
        solutions: solutions with labels; steps without one do not count.
    """
    known = [x for x in solutions if any(label is not None for label in x.labels)]
    if not known:
        return {}
    scores = scorer.score([x.prompt for x in known], [list(x.steps) for x in known])
    predicted = [[bool(p >= _RIGHT) for p in _floats(row)] for row in scores]
    hits = [
        right == (label >= 0)
        for solution, row in zip(known, predicted, strict=True)
        for label, right in zip(solution.labels, row, strict=True)
        if label is not None
    ]
    f1 = first_error_f1(known, predicted)
    return {"first_error_f1": f1, "step_accuracy": sum(hits) / len(hits)}


def first_error_f1(
    solutions: Sequence[LabelledSolution], predicted: Sequence[Sequence[bool]]
) -> float:
    """Harmonic mean of the shares of wrong and of right solutions whose first error is found.

    Of a solution with an error the first wrong step must be found, of one without none may be; if
    all solutions are of one kind, its share.

    Args:
        solutions: solutions with labels.
        predicted: whether each step is judged right; steps without a label do not count.

    Source: Zheng et al. 2024, 2412.06559, section 3.

    Examples:
        >>> from reason_decode.training import LabelledSolution
        >>> two = [LabelledSolution("p", ("a", "b"), labels) for labels in ((1, -1), (1, 1))]
        >>> first_error_f1(two, [[True, False], [False, True]])
        0.0
    """
    found: dict[bool, list[bool]] = {True: [], False: []}
    for solution, row in zip(solutions, predicted, strict=True):
        pairs = [
            (label >= 0, right)
            for label, right in zip(solution.labels, row, strict=True)
            if label is not None
        ]
        truth, guess = (
            next((k for k, pair in enumerate(pairs) if not pair[side]), None) for side in (0, 1)
        )
        found[truth is None].append(truth == guess)
    shares = [sum(hits) / len(hits) for hits in found.values() if hits]
    if len(shares) < 2:
        return shares[0] if shares else 0.0
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0


def outcome_metrics(scorer: Scorer, solutions: Sequence[LabelledSolution]) -> dict[str, float]:
    """``accuracy`` of an outcome reward model; empty where no answer is known to be right or wrong.

    Args:
        scorer: gives the probability of each solution.
        solutions: solutions; those that cannot be graded do not count.
    """
    graded = [(x, right) for x in solutions if x.steps and (right := is_right(x)) is not None]
    if not graded:
        return {}
    scores = scorer.score([x.prompt for x, _ in graded], [list(x.steps) for x, _ in graded])
    hits = [
        (_floats(row)[-1] >= _RIGHT) == right
        for row, (_, right) in zip(scores, graded, strict=True)
    ]
    return {"accuracy": sum(hits) / len(hits)}


def _floats(row: Tensor) -> list[float]:
    return row.flatten().tolist()
