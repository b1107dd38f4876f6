"""PRM800K's dataset format: a row is a solution and, at each step, the rated alternatives."""

from collections.abc import Collection
from typing import Any, NamedTuple

from reason_decode.io.fields import Row, boolean, index, items, mapping, optional_text
from reason_decode.io.fields import text as text_of
from reason_decode.training.labelled import Label, LabelledSolution

__all__ = ["CHECKS", "LeftOut", "prm800k"]

CHECKS = ("screening", "quality_control", "bad_problem")
"""Kinds of rows that are left out: the first two were shown to every labeler as a test."""

FINISHES = ("solution", "found_error", "give_up", "bad_problem")


class LeftOut(NamedTuple):
    """The reason why a well-formed row, or a part of one, is left out.

    Examples:
        >>> LeftOut("flagged completion").reason
        'flagged completion'
    """

    reason: str


def prm800k(row: Row, *, include: Collection[str] = ()) -> list[LabelledSolution | LeftOut]:
    """The chosen path, the alternatives that branch off it, and the reasons of what is left out.

    - The path takes ``completions[chosen_completion]`` of each step; if none was chosen, the
      ``human_completion``, which is rated +1. Without either it ends with the first completion of
      the step: in phase 2, that of the solution that was labelled.
    - Every other rated completion makes a solution of its own: the path up to it, then the
      completion. It also has the labels of the path; ``dedupe_shared_steps`` removes them.
    - A flagged completion has no label. On the path it stays as an unlabelled step; elsewhere it is
      left out, as is a completion without a rating.
    - ``finish_reason``: with ``solution`` the answer of the path is right; with ``give_up`` the
      ratings given before count; with ``bad_problem`` none do.

    Args:
        row: a row of either phase's file.
        include: kinds of rows to read although they are usually left out: names of ``CHECKS``.

    Raises:
        ValueError: the row is malformed.

    Source: Lightman et al. 2023, 2305.20050, appendix B; openai/prm800k, README; ratings that are
        null, issue 15 there; completions that are null and human completions that are objects, as
        in TRL's examples/datasets/prm800k.py.

    Examples:
        >>> wrong, right = {"text": "4", "rating": -1}, {"text": "3", "rating": 1}
        >>> step = {"completions": [wrong, right], "chosen_completion": 1}
        >>> row = {"question": {"problem": "1 + 2 ="},
        ...     "label": {"steps": [step], "finish_reason": "solution"}}
        >>> [(read.steps, read.labels, read.correct) for read in prm800k(row)]
        [(('3',), (1,), True), (('4',), (-1,), None)]
    """
    question, label = mapping(row, "question"), mapping(row, "label")
    problem, answer = text_of(question, "problem"), optional_text(question, "ground_truth_answer")
    finish = label.get("finish_reason")
    if finish not in FINISHES:
        raise ValueError(f"got finish_reason {finish!r}; allowed are {', '.join(FINISHES)}")
    tree = [_step(step, number) for number, step in enumerate(items(label, "steps"), start=1)]
    for check in _checks(row, finish):
        if check not in include:
            return [LeftOut(check)]

    path: list[tuple[str, Label]] = []
    branches: list[list[tuple[str, Label]]] = []
    left_out: list[LeftOut] = []
    whole = True
    for step in tree:
        if not whole:
            left_out.append(LeftOut("step after one without a chosen completion"))
            continue
        left_out += step.left_out
        others = step.others
        whole = step.chosen is not None
        chosen = step.chosen or (others.pop(0) if others else None)
        branches += [[*path, other] for other in others]
        if chosen is not None:
            path.append(chosen)

    def solution(steps: list[tuple[str, Label]], correct: bool | None) -> LabelledSolution:
        texts, labels = zip(*steps, strict=True)
        return LabelledSolution(problem, texts, labels, answer, correct)

    read: list[LabelledSolution | LeftOut] = []
    if any(label is not None for _, label in path):
        read.append(solution(path, True if finish == "solution" and whole else None))
    read += [solution(branch, None) for branch in branches]
    return [*(read or [LeftOut("no rated step")]), *left_out]


def _checks(row: Row, finish: str) -> list[str]:
    """The names of ``CHECKS`` that hold for a row."""
    found = [
        boolean(row, "is_initial_screening_question"),
        boolean(row, "is_quality_control_question"),
        finish == "bad_problem",
    ]
    return [check for check, is_one in zip(CHECKS, found, strict=True) if is_one]


class _Step(NamedTuple):
    """The completions of a step, as texts with labels."""

    chosen: tuple[str, Label] | None
    others: list[tuple[str, Label]]
    left_out: list[LeftOut]


def _step(step: Any, number: int) -> _Step:
    try:
        if not isinstance(step, dict):
            raise ValueError(f"got a JSON {type(step).__name__}; need an object")
        return _choice(step)
    except ValueError as error:
        raise ValueError(f"step {number}: {error}") from error


def _choice(step: dict[str, Any]) -> _Step:
    # Completions and the choice are null in some rows with finish_reason give_up.
    completions = [] if step.get("completions") is None else items(step, "completions")
    ratings = [_rated(completion) for completion in completions]
    chosen_index = None
    if step.get("chosen_completion") is not None:
        chosen_index = index(step, "chosen_completion", len(ratings))
    human = step.get("human_completion")
    if human is not None:
        # An object without a rating in the files; a text according to the README.
        human = {"text": human} if isinstance(human, str) else human
        text, rating, flagged = _rated(human)
        if chosen_index is None:
            chosen_index = len(ratings)
        ratings.append((text, 1 if rating is None else rating, flagged))

    chosen, others, left_out = None, [], []
    for k, (text, rating, flagged) in enumerate(ratings):
        if flagged:
            left_out.append(LeftOut("flagged completion"))
        if k == chosen_index:
            chosen = (text, None if flagged else rating)
        elif rating is not None and not flagged:
            others.append((text, rating))
        elif not flagged:
            left_out.append(LeftOut("completion without a rating"))
    return _Step(chosen, others, left_out)


def _rated(completion: Any) -> tuple[str, Label, bool]:
    """A completion's text, its rating, and whether it is flagged: the labeler could not rate it."""
    if not isinstance(completion, dict):
        raise ValueError(f"got a completion {completion!r:.60}; need an object")
    text = completion.get("text")
    if not isinstance(text, str):
        raise ValueError(f"got {text!r:.60} as a completion's `text`; need text")
    text.encode()  # a lone surrogate, which no tokenizer reads, raises a ValueError
    rating = completion.get("rating")
    if isinstance(rating, bool) or rating not in (-1, 0, 1, None):
        raise ValueError(f"got the rating {rating!r:.60}; allowed are -1, 0, 1 and null")
    return text, None if rating is None else int(rating), bool(boolean(completion, "flagged"))
