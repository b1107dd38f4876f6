"""Game of 24: reach 24 from four numbers; problems from a CSV file with ranks."""

import csv
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from reason_decode.core.answers import evaluate
from reason_decode.io.read_report import Reject
from reason_decode.tasks import countdown
from reason_decode.tasks.base import Item, Task, parse_row_range, require_items

__all__ = ["GAME24", "countdown_item", "grade", "load", "normalize_solution", "row_to_item"]


def countdown_item(numbers: countdown.State, target: int = 24, id: int = 0) -> Item:
    """The problem of reaching a target from numbers.

    Args:
        numbers: the numbers of the problem.
        target: the value to reach.
        id: the item's number.
    """
    prompt = countdown.format_prompt(numbers, target)
    return Item(id, prompt, str(target), {"numbers": numbers})


def load(path: str | Path, rows: str | None) -> tuple[list[Item], list[Reject]]:
    """Problems of a CSV file with the columns ``Rank`` and ``Puzzles``, and malformed rows.

    Args:
        path: the file, as published with Tree of Thoughts (``24.csv``).
        rows: range of ranks, ``"first:last"``, half-open; ``None`` for all.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no such table, or has no usable row in the range.
    """
    first, last = parse_row_range(rows)
    items: list[Item] = []
    rejected: list[Reject] = []
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file)
        try:
            names = table.fieldnames
        except csv.Error as error:
            raise ValueError(f"{path} is no CSV: {error}") from error
        if missing := {"Rank", "Puzzles"} - set(names or ()):
            raise ValueError(f"{path} has no column {sorted(missing)}; it has {f'{names}'[:200]}")
        for row in _rows_until_broken(table, rejected):
            try:
                rank = int(row["Rank"] or "")
                if first <= rank < last:
                    items.append(countdown_item(_four_numbers(row["Puzzles"]), id=rank))
            except ValueError as error:
                rejected.append(Reject(table.line_num, str(error)))
    return require_items(items, rejected, path, rows), rejected


def row_to_item(row: Mapping[str, Any]) -> Item:
    """The problem of a row with ``puzzle`` (four numbers, optional ``rank``) or with ``prompt``.

    Raises:
        ValueError: neither field states a problem.
    """
    if "puzzle" in row:
        rank = row.get("rank")
        return countdown_item(_four_numbers(row["puzzle"]), id=rank if isinstance(rank, int) else 0)
    problem = countdown.parse_prompt(str(row.get("prompt")))
    if problem is None or not countdown.has_answer(problem[0]):
        raise ValueError("neither `puzzle` nor `prompt` states the whole numbers and the target")
    return countdown_item(*problem)


def grade(item: Item, text: str) -> bool:
    """True if the expression on the last ``Answer:`` line, up to its first ``=``, is a solution.

    A solution uses exactly the item's numbers, each once, and has exactly the target's value.
    Tree of Thoughts (Yao et al. 2023, 2305.10601) applies the same test to the last line of the
    text, with or without ``Answer:``.

    Args:
        item: from ``countdown_item``.
        text: a solution.
    """
    lines = (line.strip() for line in reversed(text.splitlines()))
    # A chat model may set the line in bold type, or quote it.
    plain = (line.strip("*_`# ") for line in lines)
    answer = next((line for line in plain if line[:7].lower() == "answer:"), None)
    if answer is None:
        return False
    expression = answer[7:].strip("*_`$ ").partition("=")[0]
    used = sorted(re.findall(r"[0-9.]+", expression))
    if used != sorted(str(number) for number in item.extra["numbers"]):
        return False
    return evaluate(expression) == Fraction(item.target)


def _rows_until_broken(
    table: "csv.DictReader[str]", rejected: list[Reject]
) -> Iterator[dict[str, Any]]:
    """Rows of a table up to one that the CSV reader cannot read; that one is rejected."""
    try:
        yield from table
    except csv.Error as error:
        rejected.append(Reject(table.line_num, f"the table is broken from here on: {error}"))


def _four_numbers(puzzle: Any) -> tuple[int, ...]:
    if not isinstance(puzzle, str) or not re.fullmatch(r"\s*(?:[0-9]{1,3}(?:\s+|$)){4}", puzzle):
        raise ValueError(f"got the puzzle {puzzle!r:.80}; need four whole numbers: '4 5 6 10'")
    return tuple(int(number) for number in puzzle.split())


def normalize_solution(text: str) -> str:
    r"""A solution without blank lines, spaces around its lines and a first line ``Steps:``.

    Examples:
        >>> normalize_solution("Steps:\n 1 + 2 = 3\n\n3 * 4 = 12 ")
        '1 + 2 = 3\n3 * 4 = 12'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[1:] if lines and lines[0].lower() == "steps:" else lines)


GAME24 = Task(
    "game24",
    load,
    row_to_item,
    grade,
    max_new_tokens=128,
    state_key=countdown.state_key,
    user_template=(
        "{question}\n\nUse each number exactly once, with + - * / and parentheses. Please reason "
        "step by step, and write your last line in the form\nAnswer: (1 + 2) * 3 = 9"
    ),
    normalize=normalize_solution,
)
