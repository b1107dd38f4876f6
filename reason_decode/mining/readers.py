"""Documents from files of rows that may be malformed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import Reject, stream_rows
from reason_decode.mining.documents import Document

__all__ = ["ReadReport", "read_documents", "read_texts"]

MAX_REJECTS = 1_000
# Where published sets of problems keep their texts.
FIELDS = ("text", "question", "problem", "prompt", "input", "answer", "solution", "target")
# What GSM8K puts into its solutions for a calculator, and what stands before their answers.
CALCULATION = re.compile(r"<<[^<>]*>>")
FINAL = re.compile(r"####[ \t]*(.+?)[ \t]*$", re.MULTILINE)


@dataclass
class ReadReport:
    """What became of the rows of some files; complete when the reading has ended.

    Args:
        rows: how many there were, malformed ones included.
        documents: how many documents were made of them.
        malformed: how many rows were set aside.
        rejected: which and why, by file; the first 1,000.

    Example:
        >>> from reason_decode.mining import ReadReport
        >>> print(ReadReport(rows=9, documents=8, malformed=1))
        9 rows: 8 documents; malformed: 1
    """

    rows: int = 0
    documents: int = 0
    malformed: int = 0
    rejected: list[tuple[str, Reject]] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"{self.rows} rows: {self.documents} documents; malformed: {self.malformed}"
        if self.rejected:
            path, first = self.rejected[0]
            said += f" ({path}, row {first.row}: {first.reason})"
        return said

    def reject(self, path: str, reject: Reject) -> None:
        """Count a malformed row."""
        self.malformed += 1
        if len(self.rejected) < MAX_REJECTS:
            self.rejected.append((path, reject))


def read_documents(
    paths: Iterable[str | Path], reading: ReadReport | None = None
) -> Iterator[Document]:
    r"""The documents of files, in order, one row in memory at a time.

    A row has ``text``, or ``question`` and ``answer`` as GSM8K's do: its text is both, without the
    calculator's notes, and what stands behind ``####`` is the answer. ``id``, ``source`` and
    ``answer`` are taken where a row has them; else a row is named by its place, and the source is
    the file's name. Malformed rows, and those whose id its source has had before, are set aside.

    Args:
        paths: JSON Lines files, gzipped where the name ends in ``.gz``, or small JSON lists.
        reading: filled while the files are read.

    Raises:
        OSError: when its first row is asked for: a file cannot be read.

    Example:
        >>> import tempfile
        >>> from reason_decode.mining import read_documents
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"question": "1 + 2?", "answer": "<<1+2=3>>It is 3.\\n#### 3"}', file=file)
        ...     file.flush()
        ...     [(x.text, x.answer) for x in read_documents([file.name])]
        [('1 + 2?\nIt is 3.\n#### 3', '3')]
    """
    reading = ReadReport() if reading is None else reading
    seen: set[tuple[str, str]] = set()
    for path in paths:
        name = Path(path).name
        for row in stream_rows(path):
            reading.rows += 1
            if isinstance(row, Reject):
                reading.reject(name, row)
                continue
            number, fields = row
            try:
                document = _document(fields, name, number)
                if (document.source, document.id) in seen:
                    raise ValueError(f"{document.source} has had the id {document.id!r} before")
            except ValueError as error:
                reading.reject(name, Reject(number, str(error)))
                continue
            seen.add((document.source, document.id))
            reading.documents += 1
            yield document


def read_texts(path: str | Path, reading: ReadReport | None = None) -> Iterator[str]:
    """The texts of a reference set or an evaluation set, whatever the layout of its rows.

    Args:
        path: as for ``read_documents``. The text of a row is all that its fields called as in
            ``FIELDS`` say.
        reading: filled while the file is read.

    Raises:
        OSError: when its first row is asked for: the file cannot be read.
    """
    reading = ReadReport() if reading is None else reading
    for row in stream_rows(path):
        reading.rows += 1
        if isinstance(row, Reject):
            reading.reject(Path(path).name, row)
            continue
        number, fields = row
        said = [value for name in FIELDS if isinstance(value := fields.get(name), str)]
        text = CALCULATION.sub("", "\n".join(said))
        if text.strip():
            reading.documents += 1
            yield text
        else:
            reason = f"no text in {', '.join(FIELDS)}"
            reading.reject(Path(path).name, Reject(number, reason))


def _document(row: dict[str, Any], name: str, number: int) -> Document:
    stem = name.split(".")[0]
    answer = row.get("answer")
    if "question" in row and "text" not in row:
        text = f"{_text(row, 'question')}\n{CALCULATION.sub('', _text(row, 'answer'))}"
        found = FINAL.search(text)
        answer = found[1] if found else None
    else:
        text = _text(row, "text")
    if answer is not None and not isinstance(answer, str | int | float):
        raise ValueError(f"got {str(answer)[:60]!r} as `answer`; need text, a number or null")
    return Document(
        id=str(row.get("id", f"{name}:{number}")),
        source=str(row.get("source", stem)),
        text=text,
        answer=None if answer is None or not str(answer).strip() else str(answer),
    )


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"got {str(value)[:60]!r} as `{name}`; need text")
    value.encode()  # half a character, which no tokenizer reads, raises a ValueError
    return value
