"""The output files of a mining run: rationales kept, and everything else with its reason."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

from reason_decode.io.jsonl import atomic_write
from reason_decode.mining.journal import read_journal
from reason_decode.mining.report import MiningReport

__all__ = ["Outputs", "check_parquet", "write_outputs"]

ROW_GROUP = 10_000  # rows per row group of a Parquet file


class Outputs(NamedTuple):
    """The files of a run, and its counts.

    Attributes:
        kept: records of the rationales kept.
        dropped: rejected rationales and dropped documents.
        report: counts by source and stage.
    """

    kept: Path
    dropped: Path
    report: MiningReport


def write_outputs(
    journals: Iterable[str | Path], folder: str | Path, *, parquet: bool = False
) -> Outputs:
    """Write the rationales kept, and everything that was dropped, from the journals of a run.

    Each file appears only once it is complete. A document that is in two journals is taken from the
    first.

    Args:
        journals: the journals of one run; read line by line.
        folder: gets ``rationales.jsonl`` (or ``.parquet``) with a ``Record`` per line, and
            ``dropped.jsonl`` with the rejected records and, as ``{"id", "source", "similarity",
            "stage", "reason"}``, the dropped documents.
        parquet: write the rationales as Parquet.

    Raises:
        ModuleNotFoundError: ``parquet`` is set, and pyarrow is not installed.
        OSError: a file cannot be read or written.
    """
    folder = Path(folder)
    kept = folder / ("rationales.parquet" if parquet else "rationales.jsonl")
    dropped, report = folder / "dropped.jsonl", MiningReport()
    with ExitStack() as files:
        good = files.enter_context(_parquet(kept) if parquet else _jsonl(kept))
        bad = files.enter_context(_jsonl(dropped))
        for row in _unique_rows(journals):
            report.add(row)
            if row["reason"]:
                bad.write({name: row[name] for name in row if name != "records"})
            for record in row["records"]:
                (bad if record["reason"] else good).write(record)
    return Outputs(kept, dropped, report)


def _unique_rows(journals: Iterable[str | Path]) -> Iterator[dict[str, Any]]:
    seen: set[tuple[str, str]] = set()
    for path in journals:
        for row in read_journal(path):
            name = (row["source"], row["id"])
            if name not in seen:
                seen.add(name)
                yield row


class _JsonLinesWriter:
    """Writes rows as JSON Lines."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _ParquetWriter:
    """Writes rows to a Parquet file, a row group at a time."""

    def __init__(self, path: Path) -> None:
        arrow = _arrow()
        text, number = arrow.string(), arrow.float64()
        types = {
            "id": text,
            "source": text,
            "similarity": number,
            "rationale": text,
            "stage": text,
            "reason": text,
            "index": arrow.int64(),
            "preceding": text,
            "following": text,
            "delta": number,
            "mean_delta": number,
            "tokens": arrow.int64(),
        }
        self.arrow, self.schema, self.rows = arrow, arrow.schema(list(types.items())), []
        self.file: Any = import_module("pyarrow.parquet").ParquetWriter(path, self.schema)

    def write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) == ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        self.file.write_table(self.arrow.Table.from_pylist(self.rows, schema=self.schema))
        self.rows.clear()


@contextmanager
def _jsonl(path: Path) -> Iterator[_JsonLinesWriter]:
    with atomic_write(path) as name, name.open("w", encoding="utf-8") as file:
        yield _JsonLinesWriter(file)


@contextmanager
def _parquet(path: Path) -> Iterator[_ParquetWriter]:
    with atomic_write(path) as name:
        writer = _ParquetWriter(name)
        try:
            yield writer
            writer.flush()
        finally:
            writer.file.close()


def check_parquet() -> None:
    """Raise before any work is spent if Parquet files cannot be written.

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
