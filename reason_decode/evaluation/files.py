"""Reading rows that may be malformed, and writing results whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from reason_decode.rows import Reject, stream_rows, write_text

__all__ = ["Reject", "check_writable", "read_jsonl", "write_json", "write_text"]


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
    for row in stream_rows(path):
        if isinstance(row, Reject):
            rejected.append(row)
        else:
            rows.append(row)
    return rows, rejected


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, the whole file or nothing; see ``write_text``.

    Raises:
        ValueError: the data hold NaN or infinity, which JSON has no word for.
        OSError: the file cannot be written.
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def check_writable(path: str | Path) -> None:
    """Raise now, before any work is spent, if a file could not be written later.

    Raises:
        ValueError: the path is a folder or a device, or its folder is missing or read-only.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"got the folder {path} as an output file; name a file in it")
    if path.exists() and not path.is_file():
        # A rename would put a file in the device's place.
        raise ValueError(f"got {path} as an output file, which is a device or a pipe; name a file")
    if not path.parent.is_dir():
        raise ValueError(
            f"cannot write {path}: the folder {path.parent} does not exist; mkdir -p {path.parent}"
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {path.parent} is read-only")
