"""Typed access to the fields of a row, with errors that name the field and what it needs."""

from collections.abc import Mapping
from typing import Any

__all__ = ["Row", "boolean", "index", "items", "mapping", "optional_text", "text", "texts"]

Row = Mapping[str, Any]


def text(row: Row, name: str) -> str:
    """The text of a field that must hold some.

    Raises:
        ValueError: it is not text, is blank, or has a lone surrogate, which no tokenizer reads.

    Examples:
        >>> text({"prompt": "1 + 2 ="}, "prompt")
        '1 + 2 ='
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"got {_short(value)} as `{name}`; need text")
    return _whole(value)


def optional_text(row: Row, name: str) -> str | None:
    """The text of a field that may be null or missing.

    Raises:
        ValueError: it is something else.

    Examples:
        >>> optional_text({}, "answer") is None
        True
    """
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"got {_short(value)} as `{name}`; need text or null")
    return None if value is None else _whole(value)


def items(row: Row, name: str) -> list[Any]:
    """The list of a field.

    Raises:
        ValueError: it is not a list.

    Examples:
        >>> items({"labels": [True, False]}, "labels")
        [True, False]
    """
    value = row.get(name)
    if not isinstance(value, list):
        raise ValueError(f"got {_short(value)} as `{name}`; need a list")
    return value


def texts(row: Row, name: str) -> tuple[str, ...]:
    """The texts of a list that must not be empty; texts may be blank, so that indices stay valid.

    Raises:
        ValueError: it is not a list, is empty, or has an item that is not text.

    Examples:
        >>> texts({"steps": ["1 + 2 = 3", ""]}, "steps")
        ('1 + 2 = 3', '')
    """
    values = items(row, name)
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"got {_short(value)} in `{name}`; need text")
    if not values:
        raise ValueError(f"got no item in `{name}`; need one per step")
    return tuple(_whole(value) for value in values)


def mapping(row: Row, name: str) -> dict[str, Any]:
    """The object of a field.

    Raises:
        ValueError: it is not an object.

    Examples:
        >>> mapping({"question": {"problem": "p"}}, "question")
        {'problem': 'p'}
    """
    value = row.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"got {_short(value)} as `{name}`; need an object")
    return value


def boolean(row: Row, name: str) -> bool | None:
    """The boolean of a field that may be null or missing.

    Raises:
        ValueError: it is something else.

    Examples:
        >>> boolean({"correct": True}, "correct")
        True
    """
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"got {_short(value)} as `{name}`; need true, false or null")
    return value


def index(row: Row, name: str, count: int) -> int:
    """An index from 0 into a list of ``count`` items.

    Raises:
        ValueError: it is not a whole number, or out of range.

    Examples:
        >>> index({"mistake_index": 2}, "mistake_index", count=3)
        2
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(
            f"got {_short(value)} as `{name}`; need an index from 0 into a list of {count}"
        )
    return value


def _whole(value: str) -> str:
    value.encode()  # UnicodeEncodeError is a ValueError
    return value


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
