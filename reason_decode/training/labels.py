"""Labels without people: an exact checker's, and those of a larger reward model."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from reason_decode.scorers.base import Scorer
from reason_decode.scorers.checks import check_finite
from reason_decode.training.labelled import Label, LabelledSolution, until_first_error

__all__ = ["Checker", "label_by_checker", "label_by_scorer"]

Checker = Callable[[str, Sequence[str]], Sequence[bool]]
"""Of a prompt and its steps, whether each is right; it may end at the first that is not."""


def label_by_checker(
    solutions: Iterable[LabelledSolution], check: Checker
) -> Iterator[LabelledSolution]:
    """Each solution with the verdicts of an exact checker, up to the first wrong step.

    Args:
        solutions: whose labels are replaced.
        check: such as ``tasks.arithmetic.grade_steps``.

    Raises:
        ValueError: the checker says more than one thing a step.

    Example:
        >>> from reason_decode.tasks.arithmetic import grade_steps
        >>> from reason_decode.training import LabelledSolution, label_by_checker
        >>> steps = ("We need A * B.", "A is 3.")
        >>> solution = LabelledSolution("((1 + 2) * (3 + 4))", steps, (None, None))
        >>> [labelled.labels for labelled in label_by_checker([solution], grade_steps)]
        [(1, -1)]
    """
    for solution in solutions:
        said = list(check(solution.prompt, solution.steps))
        if len(said) > len(solution.steps):
            raise ValueError(
                f"the checker said {len(said)} things of the {len(solution.steps)} steps of "
                f"{solution.prompt!r}; need at most one a step"
            )
        labels: list[Label] = [1 if right else -1 for right in said]
        labels += [None] * (len(solution.steps) - len(said))
        yield replace(solution, labels=until_first_error(labels))


def label_by_scorer(
    solutions: Sequence[LabelledSolution],
    scorer: Scorer,
    *,
    threshold: float = 0.5,
    batch_size: int = 64,
) -> Iterator[LabelledSolution]:
    """Each solution with the verdicts of a reward model: right where ``score >= threshold``.

    Labels end at the first wrong step, and ``correct`` says that there is none: what a larger
    process reward model thinks of a whole solution is what an outcome reward model learns from it.

    Args:
        solutions: whose labels, and ``correct``, are replaced.
        scorer: of steps, ``ProcessRewardModel`` say; P(right) in [0, 1].
        threshold: in the scorer's unit.
        batch_size: how many solutions the scorer is given at a time.

    Raises:
        ValueError: the threshold is not finite, a batch size below 1, or the scorer does not give
            one finite number a step.

    Source: Lightman et al. 2023, 2305.20050, section 4.1: PRM_large supervises smaller reward
    models, a solution being right if no step of it is judged wrong.
    """
    if not math.isfinite(threshold) or batch_size < 1:
        raise ValueError(
            f"got threshold={threshold} and batch_size={batch_size}; need a finite threshold and "
            "batches of at least 1"
        )
    for start in range(0, len(solutions), batch_size):
        batch = solutions[start : start + batch_size]
        scores = scorer.score([x.prompt for x in batch], [x.steps for x in batch])
        check_finite(scores, [x.prompt for x in batch])
        for solution, row in zip(batch, scores, strict=True):
            if len(row) != len(solution.steps):
                raise ValueError(
                    f"got {len(row)} scores for the {len(solution.steps)} steps of "
                    f"{solution.prompt!r}; need a scorer of steps"
                )
            right = [x >= threshold for x in row.tolist()]
            labels: list[Label] = [1 if x else -1 for x in right]
            yield replace(solution, labels=until_first_error(labels), correct=all(right))
