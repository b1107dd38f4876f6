"""Rows of a table: JSON Lines, JSON, CSV, Parquet, or a dataset of the Hub."""

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import Reject, read_jsonl

__all__ = ["TableRows", "is_hub_dataset", "read_table"]

TableRows = tuple[list[tuple[int, dict[str, Any]]], list[Reject]]
"""Rows with their numbers from 1, and the rows that cannot be read."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table(
    path_or_id: str | Path, *, subset: str | None = None, split: str | None = None
) -> TableRows:
    """All rows of a table, and those that cannot be read.

    Args:
        path_or_id: a file, by its name's end JSON Lines (``.jsonl``, or any other), ``.json`` (a
            list of objects, or ``{"examples": [...]}``), ``.csv``, ``.tsv`` or ``.parquet``, text
            also with ``.gz``; or the id of a dataset on the Hub, such as ``openai/gsm8k``, where
            there is no such file.
        subset: subset of a Hub dataset.
        split: split of a Hub dataset; ``None``: test.

    Raises:
        OSError: there is no such file or dataset, or it cannot be read.
        ValueError: it is no table, or ``subset`` or ``split`` are given for a file.
        ImportError: the package that reads it is not installed.
    """
    path = Path(path_or_id)
    name = str(path_or_id)
    if is_hub_dataset(path_or_id):
        return _hub_rows(name, subset, split or "test")
    if subset is not None or split is not None:
        raise ValueError(
            f"got subset={subset} and split={split} for the file {path}; they are of datasets on "
            "the Hub, so drop them"
        )
    kind = Path(name.removesuffix(".gz")).suffix.lower()
    if kind in _DELIMITERS:
        return _csv_rows(path, _DELIMITERS[kind])
    if kind == ".parquet":
        return _numbered(_parquet_rows(path))
    if kind == ".json":
        examples = _examples(path)
        if examples is not None:
            return _numbered(examples)
    return read_jsonl(path)


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


def _numbered(rows: Iterable[Any]) -> TableRows:
    found: list[tuple[int, dict[str, Any]]] = []
    rejected: list[Reject] = []
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            found.append((number, row))
        else:
            rejected.append(Reject(number, f"got a {type(row).__name__}; need an object"))
    return found, rejected


def _examples(path: Path) -> list[Any] | None:
    """The list of a document ``{"examples": [...]}``; ``None`` for any other content."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        try:
            document = json.loads(file.read())
        except (ValueError, RecursionError):
            return None  # JSON Lines under this name, or an error that its reader explains
    examples = document.get("examples") if isinstance(document, dict) else None
    return examples if isinstance(examples, list) else None


def _csv_rows(path: Path, delimiter: str) -> TableRows:
    """Rows of a table with a header, up to one that the CSV reader cannot read."""
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    found: list[tuple[int, dict[str, Any]]] = []
    rejected: list[Reject] = []
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictReader(file, delimiter=delimiter)
        try:
            for row in table:
                if None in row or None in row.values():
                    columns = len(table.fieldnames or ())
                    rejected.append(Reject(table.line_num, f"need {columns} cells, as the header"))
                else:
                    found.append((table.line_num, dict(row)))
        except csv.Error as error:
            rejected.append(Reject(table.line_num, f"the table is broken from here on: {error}"))
    return found, rejected


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
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


def _hub_rows(name: str, subset: str | None, split: str) -> TableRows:
    try:
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"there is no file {name}, and a dataset of the Hub is read by the package datasets: "
            "pip install 'reason-decode[datasets]', or name a file"
        ) from error
    try:
        return _numbered(dict(row) for row in load_dataset(name, subset, split=split))
    except Exception as error:  # of the Hub's client, of fsspec, of the dataset's own files
        reason = " ".join(str(error).split())[:400]
        raise OSError(
            f"the dataset {name} cannot be read with subset={subset} and split={split} (subset "
            f"and split say which part of it is meant): {reason}"
        ) from error
