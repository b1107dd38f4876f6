"""PRM800K's layout: a row is a solution and, at each step, the alternatives that people rated."""

from collections.abc import Collection
from typing import Any, NamedTuple

from reason_decode.training.fields import Row, boolean, index, items, mapping, optional_text, text
from reason_decode.training.labelled import Label, LabelledSolution

__all__ = ["CHECKS", "LeftOut", "prm800k"]

CHECKS = ("screening", "quality_control", "bad_problem")
"""Reasons for which whole rows are left out: the first two kinds went to every labeler."""

FINISHES = ("solution", "found_error", "give_up", "bad_problem")


class LeftOut(NamedTuple):
    """Something well-formed that is not read, and why.

    Example:
        >>> LeftOut("flagged completion").reason
        'flagged completion'
    """

    reason: str


def prm800k(row: Row, *, keep: Collection[str] = ()) -> list[LabelledSolution | LeftOut]:
    """The path that was chosen, the alternatives that leave it, and what was left out.

    - The path takes ``completions[chosen_completion]`` of each step, or the ``human_completion``
      where none was chosen, which is rated +1. Where there is neither, it ends with the step's
      first completion: in phase 2, that of the solution under judgement.
    - Every other rated completion is a solution of its own: the path up to it, and it. Its labels
      are those of the path too; see ``once``.
    - A completion that is flagged has no label. On the path it stays as an unlabelled step;
      elsewhere it is left out, as is one without a rating.
    - ``finish_reason``: at ``solution`` the path's answer is right; at ``give_up`` what was rated
      before counts; at ``bad_problem`` nothing does.

    Args:
        row: a line of either phase's file.
        keep: which rows to read that would be left out: names of ``CHECKS``.

    Raises:
        ValueError: the row is malformed.

    Source: Lightman et al. 2023, 2305.20050, appendix B; openai/prm800k, README; ratings that are
        null, issue 15 there; completions that are null and human completions that are objects, as
        in TRL's examples/datasets/prm800k.py.

    Example:
        >>> wrong, right = {"text": "4", "rating": -1}, {"text": "3", "rating": 1}
        >>> step = {"completions": [wrong, right], "chosen_completion": 1}
        >>> row = {"question": {"problem": "1 + 2 ="},
        ...     "label": {"steps": [step], "finish_reason": "solution"}}
        >>> [(read.steps, read.labels, read.correct) for read in prm800k(row)]
        [(('3',), (1,), True), (('4',), (-1,), None)]
    """
    question, label = mapping(row, "question"), mapping(row, "label")
    problem, answer = text(question, "problem"), optional_text(question, "ground_truth_answer")
    finish = label.get("finish_reason")
    if finish not in FINISHES:
        raise ValueError(f"got finish_reason {finish!r}; allowed are {', '.join(FINISHES)}")
    tree = [_step(step, place) for place, step in enumerate(items(label, "steps"), start=1)]
    for check in _checks(row, finish):
        if check not in keep:
            return [LeftOut(check)]

    path: list[tuple[str, Label]] = []
    branches: list[list[tuple[str, Label]]] = []
    left_out: list[LeftOut] = []
    whole = True
    for step in tree:
        if not whole:
            left_out.append(LeftOut("step behind one of which nothing was chosen"))
            continue
        left_out += step.left_out
        others = step.others
        whole = step.chosen is not None
        chosen = step.chosen or (others.pop(0) if others else None)
        branches += [[*path, other] for other in others]
        if chosen is not None:
            path.append(chosen)

    def solution(steps: list[tuple[str, Label]], correct: bool | None) -> LabelledSolution:
        said, labels = zip(*steps, strict=True)
        return LabelledSolution(problem, said, labels, answer, correct)

    read: list[LabelledSolution | LeftOut] = []
    if any(label is not None for _, label in path):
        read.append(solution(path, True if finish == "solution" and whole else None))
    read += [solution(branch, None) for branch in branches]
    return [*(read or [LeftOut("no rated step")]), *left_out]


def _checks(row: Row, finish: str) -> list[str]:
    """Which of ``CHECKS`` a row is."""
    found = [
        boolean(row, "is_initial_screening_question"),
        boolean(row, "is_quality_control_question"),
        finish == "bad_problem",
    ]
    return [check for check, is_one in zip(CHECKS, found, strict=True) if is_one]


class _Step(NamedTuple):
    """What a step's completions come to: texts with their labels."""

    chosen: tuple[str, Label] | None
    others: list[tuple[str, Label]]
    left_out: list[LeftOut]


def _step(step: Any, place: int) -> _Step:
    try:
        if not isinstance(step, dict):
            raise ValueError(f"got a JSON {type(step).__name__}; need an object")
        return _choice(step)
    except ValueError as error:
        raise ValueError(f"step {place}: {error}") from error


def _choice(step: dict[str, Any]) -> _Step:
    # Both are null in some rows that were given up.
    completions = [] if step.get("completions") is None else items(step, "completions")
    ratings = [_rated(completion) for completion in completions]
    taken = None
    if step.get("chosen_completion") is not None:
        taken = index(step, "chosen_completion", len(ratings))
    human = step.get("human_completion")
    if human is not None:
        # In the files an object whose rating is null, in the README a text.
        human = {"text": human} if isinstance(human, str) else human
        said, rating, flagged = _rated(human)
        if taken is None:
            taken = len(ratings)
        ratings.append((said, 1 if rating is None else rating, flagged))

    chosen, others, left_out = None, [], []
    for place, (said, rating, flagged) in enumerate(ratings):
        if flagged:
            left_out.append(LeftOut("flagged completion"))
        if place == taken:
            chosen = (said, None if flagged else rating)
        elif rating is not None and not flagged:
            others.append((said, rating))
        elif not flagged:
            left_out.append(LeftOut("completion without a rating"))
    return _Step(chosen, others, left_out)


def _rated(completion: Any) -> tuple[str, Label, bool]:
    """A completion's text, its rating, and whether the labeler did not know how to rate it."""
    if not isinstance(completion, dict):
        raise ValueError(f"got a completion {completion!r:.60}; need an object")
    said = completion.get("text")
    if not isinstance(said, str):
        raise ValueError(f"got {said!r:.60} as a completion's `text`; need text")
    said.encode()
    rating = completion.get("rating")
    if isinstance(rating, bool) or rating not in (-1, 0, 1, None):
        raise ValueError(f"got the rating {rating!r:.60}; allowed are -1, 0, 1 and null")
    return said, None if rating is None else int(rating), bool(boolean(completion, "flagged"))
