"""Tasks of questions and answers: any table that has a column of each."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reason_decode.core.answers import reference_answer, states_answer
from reason_decode.io.read_report import Reject
from reason_decode.io.tables import read_table
from reason_decode.tasks.base import (
    QUESTION,
    Example,
    Item,
    Task,
    parse_row_range,
    require_items,
)
from reason_decode.tasks.prompts import BOXED

__all__ = ["Columns", "find_column", "grade_answer", "question_task"]

_QUESTIONS = ("question", "problem", "prompt", "input", "query")
_ANSWERS = ("answer", "target", "final_answer", "expected_answer", "ground_truth", "solution")
_SOLUTIONS = ("solution", "answer", "rationale", "reasoning")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K's notes beside each sum


@dataclass(frozen=True)
class Columns:
    """The columns of a table of questions and answers.

    Args:
        question: column of the questions; ``None``: the first of question, problem, prompt, input
            and query that the row has.
        answer: column of the answers; ``None``: the first of answer, target, final_answer,
            expected_answer, ground_truth and solution.
        subset: subset of a Hub dataset.
        split: split of a Hub dataset; ``None``: test.
    """

    question: str | None = None
    answer: str | None = None
    subset: str | None = None
    split: str | None = None


ToItem = Callable[[Mapping[str, Any], int, Columns], Item]
"""A row, its index and the columns -> the problem."""


def question_task(
    name: str = "questions",
    columns: Columns | None = None,
    *,
    to_item: ToItem | None = None,
    grade: Callable[[Item, str], bool] | None = None,
    max_new_tokens: int = 1024,
    user_template: str = f"{QUESTION}\n\n{BOXED}",
    examples: Sequence[Example] = (),
) -> Task:
    r"""A task whose problems are the rows of a table; see ``read_table`` for its forms.

    The answer of a row may be a number, a text, or a worked solution that states its final answer
    (``#### 18``, ``\boxed{18}``). A solution is right if its final answer is the same.

    Args:
        name: the task's name.
        columns: where question and answer are.
        to_item: makes the problem of a row; ``None``: by its question and answer.
        grade: as in ``Task``; ``None``: ``same_answer``.
        max_new_tokens: as in ``Task``.
        user_template: as in ``Task``.
        examples: as in ``Task``.

    Examples:
        >>> task = question_task()
        >>> item = task.row_to_item({"question": "1 + 2?", "answer": "1 + 2 = 3\n#### 3"})
        >>> item.target, task.grade(item, "So the answer is 3.")
        ('3', True)
    """
    columns = columns or Columns()
    make = to_item or question_item
    return Task(
        name,
        partial(_load, make, columns),
        lambda row: make(row, 0, columns),
        grade or grade_answer,
        max_new_tokens,
        user_template=user_template,
        examples=examples,
        stop=("\nQuestion:",),
    )


def grade_answer(item: Item, text: str) -> bool:
    """True if the final answer that a text states is the item's target."""
    return states_answer(text, item.target)


def question_item(row: Mapping[str, Any], index: int, columns: Columns) -> Item:
    """The problem of a row.

    A column named prompt holds what a model without a chat template continues as it stands; other
    questions are put between ``Question:`` and ``Answer:``.

    Raises:
        ValueError: the row has no question, no answer, or a solution without a final answer.
    """
    column, question = find_column(row, columns.question, _QUESTIONS, "question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"got {question!r:.60} as `{column}`; need the text of a question")
    question.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    name, answer = find_column(row, columns.answer, _ANSWERS, "answer")
    prompt = question if column.lower() == "prompt" else f"Question: {question}\nAnswer:"
    target = _target(name, answer)
    solution = {"solution": worked} if (worked := _worked_solution(row, target)) else {}
    return Item(index, prompt, target, solution, question)


def find_column(
    row: Mapping[str, Any], asked: str | None, names: Sequence[str], role: str
) -> tuple[str, Any]:
    """Name and value of a column of a row.

    Args:
        row: a row of the table.
        asked: the column that the user named; ``None``: the first of ``names``.
        names: usual names, compared without case.
        role: the word for it in an error, which is also that of its option.

    Raises:
        ValueError: the row has no such column.
    """
    if asked is not None and asked in row:
        return asked, row[asked]
    by_name = {str(name).lower(): str(name) for name in reversed(list(row))}
    found = next((by_name[name] for name in names if name in by_name), None)
    if asked is not None or found is None:
        wanted = f"`{asked}`" if asked is not None else f"any of {', '.join(names)}"
        raise ValueError(
            f"the row has no column {wanted}; it has {', '.join(map(str, row))[:200]}: name the "
            f"column of the {role} (--{role}-column)"
        )
    return found, row[found]


def _target(name: str, answer: Any) -> str:
    if isinstance(answer, bool | int | float):
        return str(answer)
    if isinstance(answer, list) and len(answer) == 1:
        return _target(name, answer[0])
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError(f"got {answer!r:.60} as `{name}`; need a text or a number")
    answer.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    reference = reference_answer(answer)
    if reference is None:
        raise ValueError(
            f"got the solution {answer!r:.60} as `{name}`, which states no final answer; name the "
            "column that holds it (--answer-column)"
        )
    return reference


def _worked_solution(row: Mapping[str, Any], target: str) -> str | None:
    r"""The worked solution of a row, which ends with its answer in a box; ``None`` without one."""
    by_name = {str(name).lower(): value for name, value in row.items()}
    texts = (by_name.get(name) for name in _SOLUTIONS)
    solution = next((x for x in texts if isinstance(x, str) and "\n" in x.strip()), None)
    if solution is None:
        return None
    work = _CALCULATOR.sub("", solution).rpartition("####")
    text = (work[0] or work[2]).strip()
    return text if "\\boxed" in text else f"{text}\nThe final answer is \\boxed{{{target}}}."


def _load(
    make: ToItem, columns: Columns, path: str | Path, rows: str | None
) -> tuple[list[Item], list[Reject]]:
    """Problems of a table, numbered from 0, and malformed rows."""
    first, last = parse_row_range(rows)
    found, rejected = read_table(path, subset=columns.subset, split=columns.split)
    items: list[Item] = []
    for index, (number, row) in enumerate(found):
        if not first <= index < last:
            continue
        try:
            items.append(make(row, index, columns))
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    rejected.sort(key=lambda reject: reject.row)
    return require_items(items, rejected, path, rows), rejected
