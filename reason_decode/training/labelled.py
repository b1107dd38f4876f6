"""Labelled solutions, and which of their labels are learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Label", "LabelledSolution", "Neutral", "binary", "once", "until_first_error"]

Label = int | None
"""-1 wrong, 0 neutral (not wrong, but no progress), +1 right; ``None`` where nobody said."""

Neutral = Literal["positive", "negative", "keep"]


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution, or the beginning of one, and what is known of its steps and of its answer.

    Args:
        prompt: the problem.
        steps: the steps in order.
        labels: one a step, see ``Label``.
        answer: the reference answer; ``None`` where the data hold none.
        correct: whether the solution's own final answer is right; ``None`` where nobody said.
        source: the data's own id of the row, else ``file:line``. What was read from one row has one
            source, so a split by source (or by prompt) keeps branches of a solution together.

    Raises:
        ValueError: there is not one label a step.

    Example:
        >>> LabelledSolution("1 + 2 + 3 =", ("1 + 2 = 3", "3 + 3 = 7"), labels=(1, -1), answer="6").labels
        (1, -1)
    """

    prompt: str
    steps: tuple[str, ...]
    labels: tuple[Label, ...]
    answer: str | None = None
    correct: bool | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.steps):
            raise ValueError(
                f"got {len(self.labels)} labels for {len(self.steps)} steps; need one a step, None "
                "where there is no verdict"
            )


def binary(labels: Sequence[Label], neutral: Neutral) -> tuple[Label, ...]:
    """Labels with neutral ones taken for right or for wrong, or left.

    Args:
        labels: one a step.
        neutral: ``"positive"`` or ``"negative"``; ``"keep"`` leaves three classes.

    Raises:
        ValueError: ``neutral`` is none of these.

    Source: Lightman et al. 2023, 2305.20050, where neutral counts as right when solutions are
        compared; TRL's copy of PRM800K counts it as wrong.

    Example:
        >>> binary([1, 0, None, -1], "positive"), binary([1, 0, None, -1], "negative")
        ((1, 1, None, -1), (1, -1, None, -1))
    """
    if neutral == "keep":
        return tuple(labels)
    if neutral not in ("positive", "negative"):
        raise ValueError(f"got neutral={neutral!r}; allowed are 'positive', 'negative', 'keep'")
    side = 1 if neutral == "positive" else -1
    return tuple([side if label == 0 else label for label in labels])


def until_first_error(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Labels with those behind the first wrong step taken away.

    What follows an error is neither right nor wrong in a way that people agree on. The steps stay,
    for a benchmark wants them read; a trainer may cut what is unlabelled at the end.

    Args:
        labels: one a step; apply ``binary`` before where neutral counts as wrong.

    Source: Lightman et al. 2023, 2305.20050, section 2.6.

    Example:
        >>> until_first_error([1, -1, 1, -1])
        (1, -1, None, None)
    """
    if -1 not in labels:
        return tuple(labels)
    end = list(labels).index(-1) + 1
    return (*labels[:end], *[None] * (len(labels) - end))


def once(solutions: Sequence[LabelledSolution]) -> list[LabelledSolution]:
    """Branches of one problem with each step's label left in the first of them that holds it.

    A step is the same where everything before it is the same. Without this, a step that has ten
    alternatives behind it would be learnt eleven times.

    Args:
        solutions: the solutions, whole ones before the branches that leave them.

    Example:
        >>> chosen = LabelledSolution("p", ("a", "b"), (1, 1))
        >>> other = LabelledSolution("p", ("a", "c"), (1, -1))
        >>> [solution.labels for solution in once([chosen, other])]
        [(1, 1), (None, -1)]
    """
    if len(solutions) < 2:
        return list(solutions)
    seen: set[tuple[str, ...]] = set()
    kept = []
    for solution in solutions:
        labels = list(solution.labels)
        for k, label in enumerate(labels):
            step = (solution.prompt, *solution.steps[: k + 1])
            if step in seen:
                labels[k] = None
            elif label is not None:
                seen.add(step)
        kept.append(replace(solution, labels=tuple(labels)))
    return kept
