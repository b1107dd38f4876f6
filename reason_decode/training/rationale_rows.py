"""Mined rationales from files: each with the text before and after it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_decode.core.hashing import split_by_hash
from reason_decode.io.jsonl import stream_rows
from reason_decode.io.read_report import ReadReport

__all__ = ["RationaleRow", "read_rationales", "split_documents"]


@dataclass(frozen=True, slots=True)
class RationaleRow:
    """A rationale and the text around it.

    Args:
        id: id of the document, the same for all its rationales.
        source: name of the collection that the document is from.
        preceding: all text before the rationale, without earlier rationales.
        rationale: the rationale without tags.
        following: the piece of text after it, which it helps to predict; ``""`` if unknown.
        delta: decrease of the loss of ``following`` by the rationale, in nats; ``None`` if it was
            not measured.

    Raises:
        ValueError: ``preceding`` is empty, or ``rationale`` is blank.

    Examples:
        >>> RationaleRow("1", "web", "2 + 3", "Add them.", " is 5.").rationale
        'Add them.'
    """

    id: str
    source: str
    preceding: str
    rationale: str
    following: str = ""
    delta: float | None = None

    def __post_init__(self) -> None:
        if not self.preceding:
            raise ValueError("`preceding` is empty; a rationale is written for the text before it")
        if not self.rationale.strip():
            raise ValueError("`rationale` is blank; drop the row")


def read_rationales(path: str | Path, report: ReadReport | None = None) -> list[RationaleRow]:
    """Read the rationales of a JSON Lines file; malformed rows are set aside.

    A row is ``{"id", "source", "preceding", "rationale", "following", "delta"}``, of which only
    ``preceding`` and ``rationale`` are required; or a whole document, ``{"id", "source", "texts",
    "rationales"}``, whose i-th rationale is for ``texts[i + 1]``, as in
    ``mining.AnnotatedDocument``. A row without an id is a document of its own.

    Args:
        path: UTF-8 text, gzipped if the name ends in ``.gz``.
        report: counts of the rows, filled while the file is read; a new one for each file.

    Raises:
        OSError: the file cannot be read.
        ValueError: no row has a rationale.
    """
    report = ReadReport() if report is None else report
    found: list[RationaleRow] = []
    for number, fields in report.rows_of(stream_rows(path)):
        try:
            found += _rationales(fields, f"{Path(path).name}:{number}")
        except ValueError as error:
            report.reject(number, str(error))
    report.items = len(found)
    if not found:
        raise ValueError(f"{path} holds no rationale: {report}")
    return found


def _rationales(row: Mapping[str, Any], line: str) -> Iterator[RationaleRow]:
    id, source = str(row.get("id", line)), str(row.get("source", ""))
    if "texts" not in row:
        delta = row.get("delta")
        if not isinstance(delta, int | float | None):
            raise ValueError(f"got `delta` {delta!r:.40}; need a number of nats")
        texts = (_text(row, "preceding"), _text(row, "rationale"), _text(row, "following", ""))
        yield RationaleRow(id, source, *texts, delta)
        return
    texts, rationales = row["texts"], row.get("rationales")
    for name, listed in (("texts", texts), ("rationales", rationales)):
        if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed):
            raise ValueError(f"got `{name}` {listed!r:.40}; need a list of texts")
    if len(texts) != len(rationales or ()) + 1:
        raise ValueError("`texts` must have one piece more than there are `rationales`")
    for k, rationale in enumerate(rationales or ()):
        yield RationaleRow(id, source, "".join(texts[: k + 1]), rationale, texts[k + 1])


def _text(row: Mapping[str, Any], name: str, missing: str | None = None) -> str:
    text = row.get(name)
    text = missing if text is None else text
    if not isinstance(text, str):
        raise ValueError(f"got `{name}` {text!r:.40}; need a text")
    return text


def split_documents(
    records: Iterable[RationaleRow], share: float
) -> tuple[list[RationaleRow], list[RationaleRow]]:
    """Rationales to train on and rationales to hold out, split by document.

    Args:
        records: any number.
        share: share of the documents that is held out, in [0, 1).

    Raises:
        ValueError: a share out of range.

    Source: RATIONALYST splits by rationale, which puts a document on both sides
    (``filter_rationales`` of JHU-CLSP/RATIONALYST at be0b1cf).
    """
    return split_by_hash(records, lambda record: f"{record.source}\n{record.id}", share)
