"""The contract of a task: items with prompts and targets, a loader of files, and a grader."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from reason_decode.io.read_report import Reject

__all__ = ["QUESTION", "Example", "Item", "Task", "parse_row_range", "require_items"]

QUESTION = "{question}"
"""The place of the question in a template."""


@dataclass(frozen=True)
class Item:
    """One problem of a task.

    Args:
        id: number of the problem in its file, as the task counts (game24: the rank).
        prompt: the text that a model without a chat template continues.
        target: the right final answer.
        extra: further values that the task's grader or its examples need, by name.
        question: the problem alone, which a user's turn states and which scorers are asked about;
            empty: the prompt.
    """

    id: int
    prompt: str
    target: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "question", self.question or self.prompt)


class Example(NamedTuple):
    """A solved problem that is shown before the one to solve.

    Attributes:
        item: the problem.
        solution: its solution, with the final answer.
    """

    item: Item
    solution: str


def unchanged(text: str) -> str:
    """The text itself."""
    return text


@dataclass(frozen=True)
class Task:
    """A benchmark as plain functions.

    Args:
        name: the name that commands know the task by.
        load: ``(path, rows) -> (items, rejected)`` reads a file of problems in its order and sets
            malformed rows aside; ``rows`` is ``"first:last"``, half-open, or ``None`` for all.
        row_to_item: the problem of one row of a file of samples; raises ``ValueError`` if the row
            states none.
        grade: ``(item, text) -> bool``, true if the text solves the problem.
        max_new_tokens: default budget of generated tokens for one solution.
        state_key: maps the steps of a solution to a key; solutions with equal keys have the same
            possible continuations, so that a search keeps one of them. See ``StepSearch``.
        user_template: a user's turn in a chat, with ``{question}`` in the place of the question.
        examples: solved problems, of which prompts show as many as are asked for.
        stop: texts at which a completion of a prompt that is text ends, such as the next question
            that a base model makes up.
        normalize: a given solution in the form that scorers are to read.
    """

    name: str
    load: Callable[[str | Path, str | None], tuple[list[Item], list[Reject]]]
    row_to_item: Callable[[Mapping[str, Any]], Item]
    grade: Callable[[Item, str], bool]
    max_new_tokens: int
    state_key: Callable[[Sequence[str]], Hashable] | None = None
    user_template: str = QUESTION
    examples: Sequence[Example] = ()
    stop: Sequence[str] = ()
    normalize: Callable[[str], str] = unchanged


def parse_row_range(rows: str | None) -> tuple[float, float]:
    """The bounds of ``"first:last"``, half-open; ``(0, inf)`` for ``None``.

    Raises:
        ValueError: the text is not ``FIRST:LAST`` with FIRST < LAST.

    Examples:
        >>> parse_row_range("901:1001")
        (901, 1001)
    """
    if rows is None:
        return 0, float("inf")
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", rows)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(
            f"got rows={rows!r}; write FIRST:LAST with FIRST < LAST, LAST not included: 901:1001"
        )
    return int(match[1]), int(match[2])


def require_items(
    items: list[Item], rejected: list[Reject], path: str | Path, rows: str | None
) -> list[Item]:
    """The items that a loader read, unless there are none.

    Args:
        items: problems that were read.
        rejected: malformed rows; the first one is named in the error.
        path: the file, for the error.
        rows: the range that was asked for, or ``None``, for the error.

    Raises:
        ValueError: there are no items.
    """
    if not items:
        chosen = "rows" if rows is None else f"row in {rows}"
        first = f"; row {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f"{path} has no usable {chosen} ({len(rejected)} malformed{first})")
    return items
