"""The files that a run leaves: what is kept, what is not and why."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from reason_decode.io.jsonl import replacing
from reason_decode.mining.journal import read_journal
from reason_decode.mining.report import Report, count

__all__ = ["Outputs", "check_parquet", "write_outputs"]

ROWS = 10_000  # to a row group of a Parquet file


class Outputs(NamedTuple):
    """Where the files are."""

    kept: Path
    dropped: Path
    report: Report


def write_outputs(
    journals: Iterable[str | Path], folder: str | Path, *, parquet: bool = False
) -> Outputs:
    """Write the kept rationales, and everything that was not kept, from journals.

    Each file is written beside its place and then renamed over it. A document that two journals
    have is taken from the first.

    Args:
        journals: of one run; read line by line.
        folder: gets ``rationales.jsonl`` (or ``.parquet``), a ``Record`` a line, and
            ``dropped.jsonl``: records that are not kept, and documents that were set aside, as
            ``id, source, similarity, stage, reason``.
        parquet: whether the rationales go to Parquet.

    Raises:
        ModuleNotFoundError: Parquet is asked for, and pyarrow is not installed.
        OSError: a file cannot be read or written.
    """
    folder = Path(folder)
    kept = folder / ("rationales.parquet" if parquet else "rationales.jsonl")
    dropped, report = folder / "dropped.jsonl", Report()
    with ExitStack() as files:
        good = files.enter_context(_parquet(kept) if parquet else _jsonl(kept))
        bad = files.enter_context(_jsonl(dropped))
        for row in _rows(journals):
            count(report, row)
            if row["reason"]:
                bad.write({name: row[name] for name in row if name != "records"})
            for record in row["records"]:
                (bad if record["reason"] else good).write(record)
    return Outputs(kept, dropped, report)


def _rows(journals: Iterable[str | Path]) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, str]] = set()
    for path in journals:
        for row in read_journal(path):
            name = (row["source"], row["id"])
            if name not in seen:
                seen.add(name)
                yield row


class _Lines:
    """Writes rows as JSON Lines."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Groups:
    """Writes rows to a Parquet file, a row group at a time."""

    def __init__(self, path: Path) -> None:
        arrow = _arrow()
        text, number = arrow.string(), arrow.float64()
        kinds = {
            "id": text,
            "source": text,
            "similarity": number,
            "rationale": text,
            "stage": text,
            "reason": text,
            "place": arrow.int64(),
            "preceding": text,
            "following": text,
            "delta": number,
            "mean": number,
            "tokens": arrow.int64(),
        }
        self.arrow, self.schema, self.rows = arrow, arrow.schema(list(kinds.items())), []
        self.file: Any = import_module("pyarrow.parquet").ParquetWriter(path, self.schema)

    def write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) == ROWS:
            self.flush()

    def flush(self) -> None:
        self.file.write_table(self.arrow.Table.from_pylist(self.rows, schema=self.schema))
        self.rows.clear()


@contextmanager
def _jsonl(path: Path) -> Iterator[_Lines]:
    with replacing(path) as name, name.open("w", encoding="utf-8") as file:
        yield _Lines(file)


@contextmanager
def _parquet(path: Path) -> Iterator[_Groups]:
    with replacing(path) as name:
        groups = _Groups(name)
        try:
            yield groups
            groups.flush()
        finally:
            groups.file.close()


def check_parquet() -> None:
    """Raise now, before any work is spent, if Parquet could not be written later.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    _arrow()


def _arrow() -> Any:
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet needs pyarrow: pip install 'reason-decode[parquet]', or write JSON Lines"
        ) from error
