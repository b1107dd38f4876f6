"""What commands print: tables, colours, model text that cannot steer the terminal."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["coloured", "painted", "percent", "printable", "table"]

_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def coloured() -> bool:
    """Whether stdout is a terminal whose user has not set ``NO_COLOR`` (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def painted(text: str, colour: str) -> str:
    """The text in a colour, or as it is where there are none."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if coloured() else text


def printable(text: str) -> str:
    """The text with control characters escaped: a model may write any, terminals obey some."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def percent(share: float | None) -> str:
    """``0.125`` -> ``12.5 %``; a dash where there is no share."""
    return "-" if share is None else f"{100 * share:.1f} %"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as aligned columns under a header; numbers stand on the right."""
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
