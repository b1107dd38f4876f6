"""Step labels without people: by an exact checker, or by a larger reward model."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from reason_decode.core.thinking import THINK, ScorePart, ThinkingTags, step_parts
from reason_decode.scorers.base import Scorer, check_finite
from reason_decode.training.labelled import Label, LabelledSolution, until_first_error

__all__ = ["Checker", "label_by_checker", "label_by_scorer"]

Checker = Callable[[str, Sequence[str]], Sequence[bool]]
"""``(prompt, steps) -> verdicts``: whether each step is right, up to the first wrong one or on."""


def label_by_checker(
    solutions: Iterable[LabelledSolution], check: Checker
) -> Iterator[LabelledSolution]:
    """Label solutions by an exact checker, up to the first wrong step.

    Args:
        solutions: solutions, whose labels are replaced.
        check: such as ``tasks.arithmetic.grade_steps``.

    Raises:
        ValueError: the checker returns more verdicts than there are steps.

    Examples:
        >>> from reason_decode.tasks.arithmetic import grade_steps
        >>> from reason_decode.training import LabelledSolution, label_by_checker
        >>> steps = ("We need A * B.", "A is 3.")
        >>> solution = LabelledSolution("((1 + 2) * (3 + 4))", steps, (None, None))
        >>> [labelled.labels for labelled in label_by_checker([solution], grade_steps)]
        [(1, -1)]
    """
    for solution in solutions:
        verdicts = list(check(solution.prompt, solution.steps))
        if len(verdicts) > len(solution.steps):
            raise ValueError(
                f"got {len(verdicts)} verdicts on the {len(solution.steps)} steps of "
                f"{solution.prompt!r}; the checker must return at most one per step"
            )
        labels: list[Label] = [1 if right else -1 for right in verdicts]
        labels += [None] * (len(solution.steps) - len(verdicts))
        yield replace(solution, labels=until_first_error(labels), soft=())


def label_by_scorer(
    solutions: Sequence[LabelledSolution],
    scorer: Scorer,
    *,
    threshold: float = 0.5,
    batch_size: int = 64,
    score_part: ScorePart = "both",
    thinking_tags: Sequence[str] = THINK,
) -> Iterator[LabelledSolution]:
    """Label solutions by a scorer of steps: a step is right if ``score >= threshold``.

    Labels end at the first wrong step, and ``correct`` is True if there is none: from these labels
    an outcome reward model learns what a larger process reward model thinks of whole solutions.

    Args:
        solutions: solutions, whose ``labels`` and ``correct`` are replaced.
        scorer: a scorer of steps, such as a ``ProcessRewardModel``.
        threshold: the lowest score of a right step, in the scorer's unit: for a
            ``ProcessRewardModel`` a probability.
        batch_size: solutions per call of the scorer.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought"; the
            other steps get no label.
        thinking_tags: the texts before and after a thought.

    Raises:
        ValueError: the threshold is not finite, the batch size is below 1, or the scorer does not
            return one finite score per step.

    Source: Lightman et al. 2023, 2305.20050, section 4.1: PRM_large supervises smaller reward
    models, and a solution is right if none of its steps is labelled wrong.
    """
    if not math.isfinite(threshold) or batch_size < 1:
        raise ValueError(
            f"got threshold={threshold} and batch_size={batch_size}; need a finite threshold and "
            "batches of at least 1"
        )
    for start in range(0, len(solutions), batch_size):
        batch = solutions[start : start + batch_size]
        parts = [step_parts(x.steps, score_part, ThinkingTags(*thinking_tags)) for x in batch]
        read = [[step for step in steps if step.strip()] for steps in parts]
        scores = scorer.score([x.prompt for x in batch], read)
        check_finite(scores, [x.prompt for x in batch])
        for solution, steps, given, row in zip(batch, parts, read, scores, strict=True):
            if len(row) != len(given):
                raise ValueError(
                    f"got {len(row)} scores for the {len(given)} steps of "
                    f"{solution.prompt!r}; need one per step, as of a ProcessRewardModel"
                )
            right = [x >= threshold for x in row.tolist()]
            verdicts, correct = iter(right), all(right) if right else None
            labels: list[Label] = [
                None if not step.strip() else 1 if next(verdicts) else -1 for step in steps
            ]
            yield replace(solution, labels=until_first_error(labels), soft=(), correct=correct)
