"""Metrics of held-out solutions while a reward model is trained, by its own scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reason_decode.scorers.base import Scorer
from reason_decode.training.examples import Example
from reason_decode.training.grading import is_right
from reason_decode.training.labelled import LabelledSolution

__all__ = [
    "first_error_f1",
    "outcome_class_metrics",
    "outcome_metrics",
    "step_class_metrics",
    "step_metrics",
]

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
    return _step_metrics(
        [
            [
                (label >= 0, p >= _RIGHT)
                for label, p in zip(solution.labels, _floats(row), strict=True)
                if label is not None
            ]
            for solution, row in zip(known, scores, strict=True)
        ]
    )


def step_class_metrics(
    prob_correct: Callable[[Tensor], Tensor], examples: Sequence[Example], outputs: Sequence[Tensor]
) -> dict[str, float]:
    """``first_error_f1`` and ``step_accuracy`` from the outputs of a head at labelled steps.

    Args:
        prob_correct: outputs (k, c) -> P(right), (k,).
        examples: labelled steps; class 0 is wrong.
        outputs: (k, c), of each example.
    """
    return _step_metrics(
        [
            [
                (label > 0, p >= _RIGHT)
                for label, p in zip(x.labels, _floats(prob_correct(row)), strict=True)
            ]
            for x, row in zip(examples, outputs, strict=True)
        ]
    )


def _step_metrics(rows: Sequence[Sequence[tuple[bool, bool]]]) -> dict[str, float]:
    """Metrics of pairs of the truth about a step and the verdict on it."""
    hits = [truth == verdict for row in rows for truth, verdict in row]
    return {"first_error_f1": _first_error_f1(rows), "step_accuracy": sum(hits) / len(hits)}


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
    return _first_error_f1(
        [
            [
                (label >= 0, right)
                for label, right in zip(solution.labels, row, strict=True)
                if label is not None
            ]
            for solution, row in zip(solutions, predicted, strict=True)
        ]
    )


def _first_error_f1(rows: Sequence[Sequence[tuple[bool, bool]]]) -> float:
    found: dict[bool, list[bool]] = {True: [], False: []}
    for pairs in rows:
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


def outcome_class_metrics(
    score: Callable[[Tensor], Tensor], examples: Sequence[Example], outputs: Sequence[Tensor]
) -> dict[str, float]:
    """``accuracy`` from the outputs of a head at the ends of solutions.

    Args:
        score: outputs (k, c) -> P(right), (k,).
        examples: solutions; class 1 is right.
        outputs: (1, c), of each example.
    """
    found = zip(_floats(score(torch.cat([*outputs]))), examples, strict=True)
    return {"accuracy": sum((p >= _RIGHT) == bool(x.labels[0]) for p, x in found) / len(examples)}


def _floats(row: Tensor) -> list[float]:
    return row.flatten().tolist()
