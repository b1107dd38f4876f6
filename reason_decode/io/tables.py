"""Rows of a table: JSON Lines, JSON, CSV, Parquet, or a dataset of the Hub."""

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reason_decode.io.file_content import check_content
from reason_decode.io.jsonl import few_blank_lines, stream_rows
from reason_decode.io.read_report import Reject, Row

__all__ = ["TableRows", "is_hub_dataset", "read_table", "stream_table"]

TableRows = tuple[list[Row], list[Reject]]
"""Rows with their numbers from 1, and the rows that cannot be read."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table(
    path_or_id: str | Path, *, subset: str | None = None, split: str | None = None
) -> TableRows:
    """All rows of a table, and those that cannot be read; see ``stream_table``.

    Args:
        path_or_id: a file, or the id of a dataset on the Hub.
        subset: subset of a Hub dataset.
        split: split of a Hub dataset; ``None``: test.

    Raises:
        OSError: there is no such file or dataset, or it cannot be read.
        ValueError: it is no table, or ``subset`` or ``split`` are given for a file.
        ImportError: the package that reads it is not installed.
    """
    found: list[Row] = []
    rejected: list[Reject] = []
    if is_hub_dataset(path_or_id):
        split = split or "test"
    for row in few_blank_lines(stream_table(path_or_id, subset=subset, split=split)):
        if isinstance(row, Reject):
            rejected.append(row)
        else:
            found.append(row)
    return found, rejected


def stream_table(
    path_or_id: str | Path, *, subset: str | None = None, split: str | None = None
) -> Iterator[Row | Reject]:
    """The rows of a table with their numbers, and a ``Reject`` for each that cannot be read.

    Args:
        path_or_id: a file, by its name's end JSON Lines (``.jsonl``, or any other), ``.json`` (a
            list of objects, ``{"examples": [...]}`` or ``{"rows": [...]}``), ``.csv``, ``.tsv`` or
            ``.parquet``, text also with ``.gz``; or the id of a dataset on the Hub, such as
            ``openai/gsm8k``, where there is no such file.
        subset: subset of a Hub dataset.
        split: split of a Hub dataset; ``None``: train.

    Raises:
        OSError: there is no such file or dataset, or it cannot be read.
        ValueError: it is no table, or ``subset`` or ``split`` are given for a file.
        ImportError: the package that reads it is not installed.
    """
    path = Path(path_or_id)
    name = str(path_or_id)
    if is_hub_dataset(path_or_id):
        yield from _numbered(_hub_rows(name, subset, split or "train"))
        return
    if subset is not None or split is not None:
        raise ValueError(
            f"got subset={subset} and split={split} for the file {path}; they are of datasets on "
            "the Hub, so drop them"
        )
    kind = Path(name.removesuffix(".gz")).suffix.lower()
    if kind in _DELIMITERS:
        yield from _csv_rows(path, _DELIMITERS[kind])
    elif kind == ".parquet":
        yield from _numbered(_parquet_rows(path))
    elif kind == ".json" and (examples := _examples(path)) is not None:
        yield from _numbered(examples)
    else:
        yield from stream_rows(path)


def is_hub_dataset(path_or_id: str | Path) -> bool:
    """True for the id of a dataset on the Hub: ``owner/name``, where there is no such file.

    A name whose end says that it is a file, or whose folder is here, is a file that is missing.
    """
    path = Path(path_or_id)
    if path.exists() or not _HUB_ID.fullmatch(str(path_or_id)):
        return False
    return not (
        path.suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".gz")
        or (path.parent.is_dir() and path.parent != Path("."))
    )


def _numbered(rows: Iterable[Any]) -> Iterator[Row | Reject]:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            yield Reject(number, f"got a {type(row).__name__}; need an object")


def _examples(path: Path) -> list[Any] | None:
    """The list of a document ``{"examples": [...]}`` or ``{"rows": [...]}``, else ``None``."""
    check_content(path)
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        try:
            document = json.loads(file.read())
        except (ValueError, RecursionError):
            return None  # JSON Lines under this name, or an error that its reader explains
    if not isinstance(document, dict):
        return None
    examples = document.get("examples", document.get("rows"))
    return examples if isinstance(examples, list) else None


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row | Reject]:
    """Rows of a table with a header, up to one that the CSV reader cannot read."""
    check_content(path)
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file, delimiter=delimiter)
        try:
            for row in table:
                if None in row or None in row.values():
                    columns = len(table.fieldnames or ())
                    yield Reject(table.line_num, f"need {columns} cells, as the header")
                else:
                    yield table.line_num, dict(row)
        except csv.Error as error:
            yield Reject(table.line_num, f"the table is broken from here on: {error}")


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    check_content(path)
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            f"{path} is a Parquet file, which pyarrow reads: pip install 'reason-decode[parquet]'"
        ) from error
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except ArrowException as error:
        raise ValueError(f"{path} is no Parquet file that can be read: {error}") from error


def _hub_rows(name: str, subset: str | None, split: str) -> Iterator[dict[str, Any]]:
    try:
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"there is no file {name}, and a dataset of the Hub is read by the package datasets: "
            "pip install 'reason-decode[datasets]', or name a file"
        ) from error
    try:
        for row in load_dataset(name, subset, split=split):
            yield dict(row)
    except Exception as error:  # of the Hub's client, of fsspec, of the dataset's own files
        reason = " ".join(str(error).split())[:400]
        raise OSError(
            f"the dataset {name} cannot be read with subset={subset} and split={split} (subset "
            f"and split say which part of it is meant): {reason}"
        ) from error
