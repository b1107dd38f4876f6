"""Documents from JSON Lines files whose rows may be malformed."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reason_decode.io import fields
from reason_decode.io.jsonl import stream_rows
from reason_decode.io.read_report import ReadReport
from reason_decode.mining.documents import Document

__all__ = ["read_documents", "read_texts"]

# Fields that hold the text in published sets of problems.
FIELDS = ("text", "question", "problem", "prompt", "input", "answer", "solution", "target")
# GSM8K's calculator annotations, and the line of its final answer.
CALCULATION = re.compile(r"<<[^<>]*>>")
FINAL = re.compile(r"####[ \t]*(.+?)[ \t]*$", re.MULTILINE)


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
        report: counts of the rows, filled while the files are read.

    Raises:
        OSError: on the first row: a file cannot be read.
        ValueError: at the end of the files: they have no document.

    Examples:
        >>> import tempfile
        >>> from reason_decode.mining import read_documents
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"question": "1 + 2?", "answer": "<<1+2=3>>It is 3.\\n#### 3"}', file=file)
        ...     file.flush()
        ...     [(x.text, x.answer) for x in read_documents([file.name])]
        [('1 + 2?\nIt is 3.\n#### 3', '3')]
    """
    report, paths = ReadReport() if report is None else report, list(paths)
    seen: set[tuple[str, str]] = set()
    for path in paths:
        name = Path(path).name
        for number, row in report.rows_of(stream_rows(path), name=name):
            try:
                document = _document(row, name, number)
                if (document.source, document.id) in seen:
                    raise ValueError(f"the id {document.id!r} is taken in {document.source}")
            except ValueError as error:
                report.reject(number, str(error), name)
                continue
            seen.add((document.source, document.id))
            report.items += 1
            yield document
    if not report.items:
        raise ValueError(
            f"{', '.join(map(str, paths))}: no row is a document ({report}); each needs its text "
            "as `text`, or `question` and `answer`"
        )


def read_texts(path: str | Path, report: ReadReport | None = None) -> Iterator[str]:
    """Read the texts of a reference set or an evaluation set of any format.

    The text of a row joins all its fields that are named in ``FIELDS``.

    Args:
        path: a JSON Lines file, gzipped if the name ends in ``.gz``, or a small JSON list.
        report: counts of the rows, filled while the file is read.

    Raises:
        OSError: on the first row: the file cannot be read.
    """
    report = ReadReport() if report is None else report
    name = Path(path).name
    for number, row in report.rows_of(stream_rows(path), name=name):
        parts = [value for key in FIELDS if isinstance(value := row.get(key), str)]
        text = CALCULATION.sub("", "\n".join(parts))
        if text.strip():
            report.items += 1
            yield text
        else:
            report.reject(number, f"no text in {', '.join(FIELDS)}", name)


def _document(row: dict[str, Any], name: str, number: int) -> Document:
    answer = row.get("answer")
    if "question" in row and "text" not in row:
        text = f"{fields.text(row, 'question')}\n{CALCULATION.sub('', fields.text(row, 'answer'))}"
        found = FINAL.search(text)
        answer = found[1] if found else None
    else:
        text = fields.text(row, "text")
    if answer is not None and not isinstance(answer, str | int | float):
        raise ValueError(f"got {str(answer)[:60]!r} as `answer`; need text, a number or null")
    return Document(
        id=str(row.get("id", f"{name}:{number}")),
        source=str(row.get("source", name.split(".")[0])),
        text=text,
        answer=None if answer is None or not str(answer).strip() else str(answer),
    )
