"""Labelled solutions, and the choice of the labels to learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = [
    "AnswerCheck",
    "Label",
    "LabelledSolution",
    "Neutral",
    "dedupe_shared_steps",
    "resolve_neutral",
    "until_first_error",
]

Label = int | None
"""Verdict on a step: -1 wrong, 0 neutral (correct, but no progress), +1 right; ``None`` unknown."""

Neutral = Literal["positive", "negative", "keep"]


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution, or the first steps of one, with verdicts on its steps and its answer.

    Args:
        prompt: the problem.
        steps: the steps, in order.
        labels: the verdict on each step; see ``Label``.
        answer: the reference answer; ``None`` if the data has none.
        correct: whether the solution's own final answer is right; ``None`` if unknown.
        source: id of the row in the data, or ``file:line``. All solutions from one row have the
            same source, so a split by source (or by prompt) keeps branches of a solution together.
        soft: probability that each step is right, in [0, 1], where the data have more than
            verdicts; empty where they have none. Only steps with a label count.

    Raises:
        ValueError: the number of labels is not the number of steps.

    Examples:
        >>> steps = ("1 + 2 = 3", "3 + 3 = 7")
        >>> LabelledSolution("1 + 2 + 3 =", steps, labels=(1, -1), answer="6").labels
        (1, -1)
    """

    prompt: str
    steps: tuple[str, ...]
    labels: tuple[Label, ...]
    answer: str | None = None
    correct: bool | None = None
    source: str = ""
    soft: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.steps) or len(self.soft) not in (0, len(self.steps)):
            raise ValueError(
                f"got {len(self.labels)} labels for {len(self.steps)} steps; need one per step, "
                "None where there is no verdict"
            )


AnswerCheck = Callable[[LabelledSolution, str], bool]
"""``(problem, text) -> bool``: whether the answer of a whole solution of the problem is right."""


def resolve_neutral(labels: Sequence[Label], neutral: Neutral) -> tuple[Label, ...]:
    """Labels with neutral ones turned into right or wrong ones, or kept.

    Args:
        labels: the verdict on each step.
        neutral: ``"positive"`` or ``"negative"``; ``"keep"`` keeps three classes.

    Raises:
        ValueError: ``neutral`` has another value.

    Source: Lightman et al. 2023, 2305.20050, where neutral counts as right when solutions are
        compared; TRL's copy of PRM800K counts it as wrong.

    Examples:
        >>> resolve_neutral([1, 0, None, -1], "positive"), resolve_neutral([1, 0, None], "negative")
        ((1, 1, None, -1), (1, -1, None))
    """
    if neutral == "keep":
        return tuple(labels)
    if neutral not in ("positive", "negative"):
        raise ValueError(f"got neutral={neutral!r}; allowed are 'positive', 'negative', 'keep'")
    resolved = 1 if neutral == "positive" else -1
    return tuple([resolved if label == 0 else label for label in labels])


def until_first_error(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Labels up to the first wrong step; those after it become ``None``.

    People do not agree on whether a step after an error is right. The steps themselves stay, for a
    benchmark wants them read.

    Args:
        labels: the verdict on each step; call ``resolve_neutral`` before if neutral is wrong.

    Source: Lightman et al. 2023, 2305.20050, section 2.6.

    Examples:
        >>> until_first_error([1, -1, 1, -1])
        (1, -1, None, None)
    """
    if -1 not in labels:
        return tuple(labels)
    end = list(labels).index(-1) + 1
    return (*labels[:end], *[None] * (len(labels) - end))


def dedupe_shared_steps(solutions: Sequence[LabelledSolution]) -> list[LabelledSolution]:
    """Branches of one problem in which each shared step has its label only once.

    Two steps are the same if all steps before them are the same, too. Without this, a step that has
    ten alternatives after it would be learned eleven times.

    Args:
        solutions: the solutions, each whole one before the branches that leave it; the first one
            with a step keeps its label.

    Examples:
        >>> chosen = LabelledSolution("p", ("a", "b"), (1, 1))
        >>> other = LabelledSolution("p", ("a", "c"), (1, -1))
        >>> [solution.labels for solution in dedupe_shared_steps([chosen, other])]
        [(1, 1), (None, -1)]
    """
    if len(solutions) < 2:
        return list(solutions)
    seen: set[tuple[str, ...]] = set()
    deduped = []
    for solution in solutions:
        labels = list(solution.labels)
        for k, label in enumerate(labels):
            step = (solution.prompt, *solution.steps[: k + 1])
            if step in seen:
                labels[k] = None
            elif label is not None:
                seen.add(step)
        deduped.append(replace(solution, labels=tuple(labels)))
    return deduped
