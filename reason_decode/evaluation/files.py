"""Reading rows that may be malformed, and writing results whole or not at all."""

import gzip
import json
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Reject", "check_writable", "read_jsonl", "write_json", "write_text"]


@dataclass(frozen=True)
class Reject:
    """A row that was set aside.

    Args:
        row: its line in the file, from 1; in a JSON document its place in the list, from 1.
        reason: what is wrong with it.
    """

    row: int
    reason: str


def read_jsonl(path: str | Path) -> tuple[list[tuple[int, dict[str, Any]]], list[Reject]]:
    """The objects of a JSON Lines file with their line numbers, and the lines that hold none.

    Args:
        path: UTF-8 text, gzipped where the name ends in ``.gz``. A gzip file that ends early gives
            the lines before the break.

    Raises:
        OSError: the file cannot be read.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    rejected: list[Reject] = []
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    with opener(path, "rb") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                row = _parse(line)
                if isinstance(row, dict):
                    rows.append((number, row))
                else:
                    rejected.append(Reject(number, row))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            rejected.append(Reject(number + 1, f"the gzip file is broken from here on: {error}"))
    return rows, rejected


def _parse(line: bytes) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with the line."""
    if not line.strip():
        return "blank line"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return row if isinstance(row, dict) else f"got a JSON {type(row).__name__}; need an object"


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, the whole file or nothing; see ``write_text``.

    Raises:
        ValueError: the data hold NaN or infinity, which JSON has no word for.
        OSError: the file cannot be written.
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a file under a temporary name beside its place, then rename it over the place."""
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp keeps others from reading; a result is as readable as any file written here.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def check_writable(path: str | Path) -> None:
    """Raise now, before any work is spent, if a file could not be written later.

    Raises:
        ValueError: the path is a folder, or its folder is missing or read-only.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"got the folder {path} as an output file; name a file in it")
    if not path.parent.is_dir():
        raise ValueError(
            f"cannot write {path}: the folder {path.parent} does not exist; mkdir -p {path.parent}"
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {path.parent} is read-only")
