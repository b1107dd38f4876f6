"""Public tasks: how their files are read, how a problem is put to a model, when text is right."""

import csv
import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from reason_decode.core.answers import answer_value, evaluate, extract_answer
from reason_decode.io.jsonl import Reject
from reason_decode.tasks import arithmetic, countdown

__all__ = ["TASKS", "Item", "Task", "arithmetic_item", "countdown_item"]


@dataclass(frozen=True)
class Item:
    """One problem of a task.

    Args:
        id: the rank (game24) or the place in the file from 0 (bbh-arithmetic).
        prompt: what the model reads.
        target: the right value.
        extra: what else the grader needs: ``numbers`` for game24.
    """

    id: int
    prompt: str
    target: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A benchmark as plain functions.

    Args:
        name: what commands call it.
        load: ``(path, rows) -> (items, rejected)``: a file's problems in its order, and its
            malformed rows; ``rows`` is ``"first:last"``, half-open, or ``None`` for all.
        item: the problem of one row of a samples file (``puzzle`` or ``prompt``); raises
            ``ValueError`` where there is none.
        grade: whether a text solves a problem.
        max_new_tokens: a budget that the embedded default's solutions stay within.
        state_key: what the future of a solution depends on, given its steps; see ``StepSearch``.
    """

    name: str
    load: Callable[[str | Path, str | None], tuple[list[Item], list[Reject]]]
    item: Callable[[Mapping[str, Any]], Item]
    grade: Callable[[Item, str], bool]
    max_new_tokens: int
    state_key: Callable[[Sequence[str]], Hashable] | None = None


def countdown_item(numbers: countdown.State, target: int = 24, id: int = 0) -> Item:
    """The problem of making ``target`` from ``numbers``."""
    prompt = countdown.prompt(numbers, target)
    return Item(id, prompt, str(target), {"numbers": numbers})


def arithmetic_item(expression: str, id: int = 0) -> Item:
    """The problem of working out an expression; one final ``=`` is ignored.

    Raises:
        ValueError: the text is no arithmetic.
    """
    expression = expression.strip().removesuffix("=").rstrip()
    value = evaluate(expression)
    if value is None:
        raise ValueError(
            f"got {expression[:80]!r}; need an expression of numbers, + - * / and parentheses"
        )
    return Item(id, arithmetic.prompt(expression), str(value))


def _load_game24(path: str | Path, rows: str | None) -> tuple[list[Item], list[Reject]]:
    first, last = _bounds(rows)
    items: list[Item] = []
    rejected: list[Reject] = []
    # utf-8-sig: spreadsheets put a mark of their byte order before the first column's name.
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file)
        try:
            names = table.fieldnames
        except csv.Error as error:
            raise ValueError(f"{path} is no CSV: {error}") from error
        if missing := {"Rank", "Puzzles"} - set(names or ()):
            raise ValueError(f"{path} has no column {sorted(missing)}; it has {f'{names}'[:200]}")
        for row in _until_broken(table, rejected):
            try:
                rank = int(row["Rank"] or "")
                if first <= rank < last:
                    items.append(countdown_item(_four_numbers(row["Puzzles"]), id=rank))
            except ValueError as error:
                rejected.append(Reject(table.line_num, str(error)))
    return _some(items, rejected, path, rows), rejected


def _until_broken(table: Any, rejected: list[Reject]) -> Iterator[dict[str, Any]]:
    """The rows up to one that the reader gives up at, which is set aside."""
    try:
        yield from table
    except csv.Error as error:
        rejected.append(Reject(table.line_num, f"the table is broken from here on: {error}"))


def _load_bbh(path: str | Path, rows: str | None) -> tuple[list[Item], list[Reject]]:
    first, last = _bounds(rows)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        try:
            document = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
    examples = document.get("examples") if isinstance(document, dict) else None
    if not isinstance(examples, list):
        raise ValueError(f'{path} holds no {{"examples": [{{"input", "target"}}, ...]}}')
    items: list[Item] = []
    rejected: list[Reject] = []
    for place, example in enumerate(examples):
        if not first <= place < last:
            continue
        try:
            items.append(_bbh_item(example, place))
        except ValueError as error:
            rejected.append(Reject(place + 1, str(error)))
    return _some(items, rejected, path, rows), rejected


def _bbh_item(example: Any, place: int) -> Item:
    if not isinstance(example, dict) or not isinstance(example.get("input"), str):
        raise ValueError("the example has no text `input`")
    item = arithmetic_item(example["input"], place)
    target = example.get("target")
    if not isinstance(target, str) or evaluate(target) is None:
        raise ValueError(f"got the target {target!r}; need a number as text")
    return Item(place, item.prompt, target)


def _bounds(rows: str | None) -> tuple[float, float]:
    if rows is None:
        return 0, float("inf")
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", rows)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(
            f"got rows={rows!r}; write FIRST:LAST with FIRST < LAST, LAST not included: 901:1001"
        )
    return int(match[1]), int(match[2])


def _some(
    items: list[Item], rejected: list[Reject], path: str | Path, rows: str | None
) -> list[Item]:
    if not items:
        chosen = "rows" if rows is None else f"row in {rows}"
        first = f"; row {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f"{path} has no usable {chosen} ({len(rejected)} malformed{first})")
    return items


def _four_numbers(puzzle: Any) -> tuple[int, ...]:
    if not isinstance(puzzle, str) or not re.fullmatch(r"\s*(?:[0-9]{1,3}(?:\s+|$)){4}", puzzle):
        raise ValueError(f"got the puzzle {puzzle!r:.80}; need four whole numbers: '4 5 6 10'")
    return tuple(int(number) for number in puzzle.split())


def _game24_sampled(row: Mapping[str, Any]) -> Item:
    if "puzzle" in row:
        rank = row.get("rank")
        return countdown_item(_four_numbers(row["puzzle"]), id=rank if isinstance(rank, int) else 0)
    problem = countdown.parse_prompt(str(row.get("prompt")))
    if problem is None or not countdown.has_answer(problem[0]):
        raise ValueError("neither `puzzle` nor `prompt` tells the whole numbers and the target")
    return countdown_item(*problem)


def _bbh_sampled(row: Mapping[str, Any]) -> Item:
    return arithmetic_item(str(row.get("puzzle", row.get("prompt"))))


def _grade_game24(item: Item, text: str) -> bool:
    """Whether the last ``Answer:`` line's expression, left of its first ``=``, is a solution.

    It has to use exactly the four numbers, each once, and to have exactly the target's value.
    Tree of Thoughts (Yao et al. 2023, 2305.10601) grades alike, but reads the text's last line,
    with or without ``Answer:``.
    """
    lines = (line.strip() for line in reversed(text.splitlines()))
    answer = next((line for line in lines if line[:7].lower() == "answer:"), None)
    if answer is None:
        return False
    expression = answer[7:].partition("=")[0]
    used = sorted(re.findall(r"[0-9.]+", expression))
    if used != sorted(str(number) for number in item.extra["numbers"]):
        return False
    return evaluate(expression) == Fraction(item.target)


def _grade_bbh(item: Item, text: str) -> bool:
    answer = extract_answer(text)
    return answer is not None and answer_value(answer) == answer_value(item.target)


TASKS: dict[str, Task] = {
    "game24": Task(
        "game24", _load_game24, _game24_sampled, _grade_game24, 128, countdown.state_key
    ),
    "bbh-arithmetic": Task("bbh-arithmetic", _load_bbh, _bbh_sampled, _grade_bbh, 384),
}
