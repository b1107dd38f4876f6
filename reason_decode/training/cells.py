"""Cells of tables without lists, such as CSV, whose text writes a list."""

import ast
import json
from typing import Any

__all__ = ["labels_in_cell", "list_in_cell"]

_WORDS = {"true": True, "false": False, "null": None, "none": None}


def list_in_cell(value: Any, kinds: tuple[type, ...]) -> Any:
    """The list that a text writes in JSON or as Python does; any other value as it is.

    Args:
        value: the value of a cell.
        kinds: types of the items. A list of others is text, such as an interval or a vector.

    Examples:
        >>> list_in_cell("['a', 'b']", (str,)), list_in_cell("[0, 1]", (str,))
        (['a', 'b'], '[0, 1]')
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and found and all(isinstance(x, kinds) for x in found):
            return found
    return value


def labels_in_cell(value: Any) -> Any:
    """A list of labels, or one label; in a text they may stand side by side.

    Args:
        value: the value of a cell.

    Examples:
        >>> labels_in_cell("+ -"), labels_in_cell("[1, 0]"), labels_in_cell("true")
        (['+', '-'], [1, 0], True)
    """
    value = list_in_cell(value, (bool, int, float, str, type(None)))
    if not isinstance(value, str):
        return value
    labels = [_label(word) for word in value.replace(",", " ").split()]
    return labels if len(labels) > 1 else labels[0] if labels else None


def _label(word: str) -> Any:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        return float(word)
    except ValueError:
        return word
