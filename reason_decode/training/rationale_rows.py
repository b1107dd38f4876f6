"""Mined rationales as rows of a file: what stands before each, the rationale, what it helped."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import ReadReport
from reason_decode.training.examples import split_by

__all__ = ["RationaleRow", "read_rationales", "split_documents"]


@dataclass(frozen=True, slots=True)
class RationaleRow:
    """A rationale and the text around it.

    Args:
        id: of the document; rationales of one document share it.
        source: the collection that the document is from.
        preceding: all text before the rationale, without earlier rationales.
        rationale: itself, without tags.
        following: the piece of text behind it, which it helps to predict; ``""`` if not known.
        delta: by how many nats it does; ``None`` if not measured.

    Raises:
        ValueError: nothing stands before it, or there is no rationale.

    Example:
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
    """The rationales of a JSON Lines file; malformed rows are set aside.

    A row is ``{"id", "source", "preceding", "rationale", "following", "delta"}``, of which
    ``preceding`` and ``rationale`` are needed; or a whole document, ``{"id", "source", "texts",
    "rationales"}``, the i-th rationale standing before ``texts[i + 1]``, as in ``mining.AnnotatedDocument``.
    A row without an id is a document of its own.

    Args:
        path: UTF-8 text, gzipped where the name ends in ``.gz``.
        report: counts of the rows, filled while the file is read; a new one for each file.

    Raises:
        OSError: the file cannot be read.
        ValueError: no row holds a rationale.
    """
    report = ReadReport() if report is None else report
    found: list[RationaleRow] = []
    for number, fields in report.rows_of(path):
        try:
            found += _mined(fields, f"{Path(path).name}:{number}")
        except ValueError as error:
            report.reject(number, str(error))
    report.items = len(found)
    if not found:
        raise ValueError(f"{path} holds no rationale: {report}")
    return found


def _mined(row: Mapping[str, Any], place: str) -> Iterator[RationaleRow]:
    id, source = str(row.get("id", place)), str(row.get("source", ""))
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
            raise ValueError(f"`{name}` is no list of texts")
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
    """Rationales to learn from and to measure on; those of one document are on one side.

    Args:
        records: any number.
        share: of the documents, held out; in [0, 1).

    Raises:
        ValueError: a share out of range.

    Source: RATIONALYST's own split is by rationale, which puts a document on both sides
    (``filter_rationales`` of JHU-CLSP/RATIONALYST at be0b1cf).
    """
    return split_by(lambda record: f"{record.source}\n{record.id}", records, share)
