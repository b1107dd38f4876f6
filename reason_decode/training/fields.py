"""Fields of a row that must be of a kind: what we got, what is allowed."""

from collections.abc import Mapping
from typing import Any

__all__ = ["Row", "boolean", "index", "items", "mapping", "optional_text", "text", "texts"]

Row = Mapping[str, Any]


def text(row: Row, name: str) -> str:
    """The text of a field that must hold some.

    Raises:
        ValueError: it is no text, blank, or holds half a character, which no tokenizer can read.

    Example:
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
        ValueError: it holds something else.

    Example:
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
        ValueError: it is no list.

    Example:
        >>> items({"labels": [True, False]}, "labels")
        [True, False]
    """
    value = row.get(name)
    if not isinstance(value, list):
        raise ValueError(f"got {_short(value)} as `{name}`; need a list")
    return value


def texts(row: Row, name: str) -> tuple[str, ...]:
    """The texts of a list that must not be empty; single ones may be blank, for places count.

    Raises:
        ValueError: it is no list, is empty, or holds something else than text.

    Example:
        >>> texts({"steps": ["1 + 2 = 3", ""]}, "steps")
        ('1 + 2 = 3', '')
    """
    values = items(row, name)
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"got {_short(value)} in `{name}`; need text")
    if not values:
        raise ValueError(f"got no item in `{name}`; need one a step")
    return tuple(_whole(value) for value in values)


def mapping(row: Row, name: str) -> dict[str, Any]:
    """The object of a field.

    Raises:
        ValueError: it is no object.

    Example:
        >>> mapping({"question": {"problem": "p"}}, "question")
        {'problem': 'p'}
    """
    value = row.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"got {_short(value)} as `{name}`; need an object")
    return value


def boolean(row: Row, name: str) -> bool | None:
    """The truth of a field that may be null or missing.

    Raises:
        ValueError: it holds something else.

    Example:
        >>> boolean({"correct": True}, "correct")
        True
    """
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"got {_short(value)} as `{name}`; need true, false or null")
    return value


def index(row: Row, name: str, count: int) -> int:
    """A place from 0 in a list of ``count``.

    Raises:
        ValueError: it is no whole number or no place in the list.

    Example:
        >>> index({"mistake_index": 2}, "mistake_index", count=3)
        2
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(
            f"got {_short(value)} as `{name}`; need a place from 0 in a list of {count}"
        )
    return value


def _whole(value: str) -> str:
    value.encode()  # UnicodeEncodeError is a ValueError
    return value


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
