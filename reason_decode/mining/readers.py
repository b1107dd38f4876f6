"""Documents from JSON Lines files whose rows may be malformed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import Reject, stream_rows
from reason_decode.mining.documents import Document

__all__ = ["ReadReport", "read_documents", "read_texts"]

MAX_REJECTS = 1_000
# Fields that hold the text in published sets of problems.
FIELDS = ("text", "question", "problem", "prompt", "input", "answer", "solution", "target")
# GSM8K's calculator annotations, and the line of its final answer.
CALCULATION = re.compile(r"<<[^<>]*>>")
FINAL = re.compile(r"####[ \t]*(.+?)[ \t]*$", re.MULTILINE)


@dataclass
class ReadReport:
    """Counts of the rows read from some files; complete when the reading has ended.

    Args:
        rows: number of rows, malformed ones included.
        documents: number of documents made of them.
        malformed: number of rows set aside.
        rejected: file name and reason of the first 1,000 malformed rows.

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
        text = f"{self.rows} rows: {self.documents} documents; malformed: {self.malformed}"
        if self.rejected:
            path, first = self.rejected[0]
            text += f" ({path}, row {first.row}: {first.reason})"
        return text

    def reject(self, path: str, reject: Reject) -> None:
        """Count a malformed row."""
        self.malformed += 1
        if len(self.rejected) < MAX_REJECTS:
            self.rejected.append((path, reject))


def read_documents(
    paths: Iterable[str | Path], report: ReadReport | None = None
) -> Iterator[Document]:
    r"""Read the documents of files, in order, with one row in memory at a time.

    A row has ``text``; or ``question`` and ``answer``, as in GSM8K: then the text is both, without
    the calculator annotations, and the part after ``####`` is the final answer. ``id``, ``source``
    and ``answer`` are optional: without them a row is named by its line, and its source is the name
    of the file. Malformed rows and rows with an id that their source had before are set aside.

    Args:
        paths: JSON Lines files, gzipped if the name ends in ``.gz``, or small JSON lists.
        report: filled while the files are read.

    Raises:
        OSError: on the first row: a file cannot be read.

    Example:
        >>> import tempfile
        >>> from reason_decode.mining import read_documents
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"question": "1 + 2?", "answer": "<<1+2=3>>It is 3.\\n#### 3"}', file=file)
        ...     file.flush()
        ...     [(x.text, x.answer) for x in read_documents([file.name])]
        [('1 + 2?\nIt is 3.\n#### 3', '3')]
    """
    report = ReadReport() if report is None else report
    seen: set[tuple[str, str]] = set()
    for path in paths:
        name = Path(path).name
        for row in stream_rows(path):
            report.rows += 1
            if isinstance(row, Reject):
                report.reject(name, row)
                continue
            number, fields = row
            try:
                document = _document(fields, name, number)
                if (document.source, document.id) in seen:
                    raise ValueError(f"the id {document.id!r} is taken in {document.source}")
            except ValueError as error:
                report.reject(name, Reject(number, str(error)))
                continue
            seen.add((document.source, document.id))
            report.documents += 1
            yield document


def read_texts(path: str | Path, report: ReadReport | None = None) -> Iterator[str]:
    """Read the texts of a reference set or an evaluation set of any layout.

    The text of a row joins all its fields that are named in ``FIELDS``.

    Args:
        path: a JSON Lines file, gzipped if the name ends in ``.gz``, or a small JSON list.
        report: filled while the file is read.

    Raises:
        OSError: on the first row: the file cannot be read.
    """
    report = ReadReport() if report is None else report
    for row in stream_rows(path):
        report.rows += 1
        if isinstance(row, Reject):
            report.reject(Path(path).name, row)
            continue
        number, fields = row
        parts = [value for name in FIELDS if isinstance(value := fields.get(name), str)]
        text = CALCULATION.sub("", "\n".join(parts))
        if text.strip():
            report.documents += 1
            yield text
        else:
            reason = f"no text in {', '.join(FIELDS)}"
            report.reject(Path(path).name, Reject(number, reason))


def _document(row: dict[str, Any], name: str, number: int) -> Document:
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
        source=str(row.get("source", name.split(".")[0])),
        text=text,
        answer=None if answer is None or not str(answer).strip() else str(answer),
    )


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"got {str(value)[:60]!r} as `{name}`; need text")
    value.encode()  # a lone surrogate, which no tokenizer reads, raises a ValueError
    return value
