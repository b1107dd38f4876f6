"""Counts of the rows that readers read, set aside and leave out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ReadReport", "Reject", "Row"]

Row = tuple[int, dict[str, Any]]
"""The number of a row, from 1, and its object."""

MAX_REJECTS = 1_000


@dataclass(frozen=True)
class Reject:
    """A malformed row, which a reader sets aside.

    Args:
        row: line number in the file, from 1; in a JSON document, the position in its list, from 1.
        reason: description of the fault.
        file: name of the file, if several are read into one report.
    """

    row: int
    reason: str
    file: str | None = field(default=None, repr=False)


@dataclass
class ReadReport:
    """Counts of the rows read from one or more files; complete when the reading has ended.

    A reader iterates over ``rows_of(rows)``, calls ``reject`` for each row that is malformed, and
    adds to ``items`` and ``left_out`` itself.

    Args:
        format: format of the rows, if there are several.
        rows: number of rows, malformed ones included.
        items: number of documents, solutions or other items made of them.
        malformed: number of rows set aside.
        rejected: the first 1,000 malformed rows; a file of garbage must not fill the memory.
        left_out: reason -> number of well-formed rows, or parts of rows, that were not used.
        notes: remark on how rows were read -> number of rows.

    Examples:
        >>> from reason_decode.io.read_report import ReadReport, Reject
        >>> print(ReadReport("plain", 9, items=8, malformed=1, rejected=[Reject(3, "no JSON")]))
        9 rows (plain): 8 items; malformed: 1 (row 3: no JSON)
    """

    format: str | None = None
    rows: int = 0
    items: int = 0
    malformed: int = 0
    rejected: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        text = f"{self.rows} rows{f' ({self.format})' if self.format else ''}: {self.items} items"
        if self.rejected:
            first = self.rejected[0]
            file = f"{first.file}, " if first.file else ""
            text += f"; malformed: {self.malformed} ({file}row {first.row}: {first.reason})"
        if self.left_out:
            counts = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            text += f"; left out: {counts}"
        if self.notes:
            text += "; " + ", ".join(f"{count} {note}" for note, count in self.notes.items())
        return text

    def rows_of(self, rows: Iterable[Row | Reject], *, name: str | None = None) -> Iterator[Row]:
        """The objects among the rows of a file, which are counted; others are rejected.

        Args:
            rows: as ``jsonl.stream_rows`` or ``tables.stream_table`` gives them.
            name: name of the file in the report, where several are read.
        """
        for row in rows:
            self.rows += 1
            if isinstance(row, Reject):
                self.reject(row.row, row.reason, name)
            else:
                yield row

    def reject(self, row: int, reason: str, file: str | None = None) -> None:
        """Count a malformed row.

        Args:
            row: its line number.
            reason: what is wrong with it.
            file: name of its file, where several are read.
        """
        self.malformed += 1
        if len(self.rejected) < MAX_REJECTS:
            self.rejected.append(Reject(row, reason, file))
