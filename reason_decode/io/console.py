"""Text for the terminal: tables, colours, and model text made safe to print."""

import os
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import Any

__all__ = [
    "colour_enabled",
    "escape_unprintable",
    "in_colour",
    "interval",
    "percent",
    "printable",
    "printable_lines",
    "table",
]

_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def colour_enabled() -> bool:
    """True if standard output is a terminal and ``NO_COLOR`` is unset (https://no-color.org)."""
    # Python has no standard output where the caller closed it.
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def escape_unprintable(*streams: Any) -> None:
    """Let text streams write characters that their encoding lacks as escapes, not raise.

    Args:
        streams: such as ``sys.stdout``, whose encoding may be ASCII; others are left alone.
    """
    for stream in streams:
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def in_colour(text: str, colour: str) -> str:
    """The text in a colour or style, or unchanged if colours are not enabled.

    Args:
        text: any text.
        colour: ``red``, ``green``, ``yellow``, ``bold`` or ``dim``.
    """
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour_enabled() else text


def printable(text: str) -> str:
    """The text with control characters escaped, so that model output cannot steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The text with control characters escaped, but for its line ends."""
    return "\n".join(map(printable, text.split("\n")))


def percent(share: float | None) -> str:
    """A share as a percentage: ``0.125`` -> ``12.5 %``; ``-`` for ``None``."""
    return "-" if share is None else f"{100 * share:.1f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """Two shares as percentages: ``(0.125, 0.5)`` -> ``12.5-50.0``; ``-`` for ``None``."""
    return "-" if bounds is None else "-".join(f"{100 * share:.1f}" for share in bounds)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns under a header line.

    Args:
        rows: at least one mapping from column names to cells, all with the same keys. A column is
            aligned left if its first cell is text that begins with a letter, else right.
    """
    header = list(rows[0])
    cells = [header, *([str(row[name]) for name in header] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(header))]
    left = [isinstance(rows[0][name], str) and rows[0][name][:1].isalpha() for name in header]
    lines = [
        "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        )
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)
