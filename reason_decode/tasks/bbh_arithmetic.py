"""BIG-Bench Hard's ``multistep_arithmetic_two``: work out an expression of whole numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reason_decode.core.answers import evaluate, states_answer
from reason_decode.io.read_report import Reject
from reason_decode.tasks import arithmetic
from reason_decode.tasks.base import Item, Task, parse_row_range, require_items
from reason_decode.tasks.prompts import BOXED

__all__ = ["BBH_ARITHMETIC", "arithmetic_item", "grade", "load", "row_to_item"]


def arithmetic_item(expression: str, id: int = 0) -> Item:
    """The problem of working out an expression.

    Args:
        expression: numbers, ``+ - * /`` and parentheses; one ``=`` at the end is dropped.
        id: the item's number.

    Raises:
        ValueError: the text is no such expression.
    """
    expression = expression.strip().removesuffix("=").rstrip()
    value = evaluate(expression)
    if value is None:
        raise ValueError(
            f"got {expression[:80]!r}; need an expression of numbers, + - * / and parentheses"
        )
    return Item(id, arithmetic.format_prompt(expression), str(value))


def load(path: str | Path, rows: str | None) -> tuple[list[Item], list[Reject]]:
    """Problems of a JSON file ``{"examples": [{"input", "target"}, ...]}``, and malformed ones.

    Args:
        path: the file, as published with BIG-Bench Hard.
        rows: range of places in ``examples``, from 0, ``"first:last"``, half-open; ``None`` for
            all.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no such document, or has no usable example in the range.
    """
    first, last = parse_row_range(rows)
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
    for index, example in enumerate(examples):
        if not first <= index < last:
            continue
        try:
            items.append(_example_item(example, index))
        except ValueError as error:
            rejected.append(Reject(index + 1, str(error)))
    return require_items(items, rejected, path, rows), rejected


def row_to_item(row: Mapping[str, Any]) -> Item:
    """The problem of a row whose ``puzzle`` or else ``prompt`` is an expression.

    Raises:
        ValueError: it is no expression.
    """
    return arithmetic_item(str(row.get("puzzle", row.get("prompt"))))


def grade(item: Item, text: str) -> bool:
    """True if the final answer that a text states is the item's target."""
    return states_answer(text, item.target)


def _example_item(example: Any, index: int) -> Item:
    if not isinstance(example, dict) or not isinstance(example.get("input"), str):
        raise ValueError("the example has no text `input`")
    item = arithmetic_item(example["input"], index)
    target = example.get("target")
    if not isinstance(target, str) or evaluate(target) is None:
        raise ValueError(f"got the target {target!r}; need a number as text")
    return Item(index, item.prompt, target)


BBH_ARITHMETIC = Task(
    "bbh-arithmetic",
    load,
    row_to_item,
    grade,
    max_new_tokens=384,
    user_template="Work out {question}\n\n" + BOXED,
)
