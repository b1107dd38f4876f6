"""JSON Lines files that may have malformed rows, and files that are written atomically."""

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reason_decode.io.file_content import check_content, is_list_of_objects
from reason_decode.io.read_report import Reject

__all__ = [
    "atomic_write",
    "check_writable",
    "read_jsonl",
    "stream_rows",
    "write_json",
    "write_rows",
    "write_text",
]

MAX_LINE_BYTES = 2**24
"""Longest line that is read; a longer one is set aside. Parsed JSON takes up to 25 times as much
memory as its text."""
MAX_SKIPPED_BYTES = 2**30
"""Bytes of a line that is too long after which reading stops: it is a device or a gzip bomb."""
MAX_DOCUMENT_BYTES = 2**28
"""Largest JSON document that is read whole."""
BLANK, MAX_BLANK_LINES = "blank line", 100


def stream_rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]] | Reject]:
    r"""The objects of a JSON Lines file with their line numbers, and a ``Reject`` for other lines.

    One line at a time is held in memory. A file named ``*.json`` that begins with ``[`` is read
    whole as one JSON list instead, a form in which small benchmarks are published.

    Args:
        path: UTF-8 text, gzip-compressed if the name ends in ``.gz``. Of a truncated gzip file the
            lines before the break are read. Corrupt bytes in it may decompress to lines of noise,
            which are returned as well, before the fault shows. Lines of more than 16 MiB are
            rejected, and so is a JSON list of more than 256 MiB.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no lines of text: a Git LFS pointer, a compressed file of another name,
            a Parquet file, or a JSON list that is not named ``*.json``.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     file.writelines(['{"a": 1}\n', '[2]\n'])
        ...     file.flush()
        ...     list(stream_rows(file.name))
        [(1, {'a': 1}), Reject(row=2, reason='got a JSON list; need an object')]
    """
    check_content(path)
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    with opener(path, "rb") as file:
        try:
            if str(path).removesuffix(".gz").endswith(".json"):
                document = file.read(64).lstrip().startswith(b"[")
                file.seek(0)
                if document:
                    yield from _elements(file.read(MAX_DOCUMENT_BYTES + 1))
                    return
            elif file.seekable():
                if is_list_of_objects(file.readline(MAX_LINE_BYTES + 1), file.read(64)):
                    raise ValueError(
                        f"{path} holds one JSON list, not an object a line; name it *.json, or "
                        "write it as JSON Lines"
                    )
                file.seek(0)
            for row in _lines(file):
                number = row.row if isinstance(row, Reject) else row[0]
                yield row
        except EOFError as error:
            yield Reject(number + 1, f"the gzip file is broken from here on: {error}")
        except (zlib.error, gzip.BadGzipFile) as error:
            reason = f"the gzip file is broken from here on, or from before: {error}"
            yield Reject(number + 1, reason)


def _lines(file: Any) -> Iterator[tuple[int, dict[str, Any]] | Reject]:
    """The row of each line."""
    lines = iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_BYTES:
            yield Reject(number, f"a line of more than {MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n") and not _skip_line(file):
                return
        else:
            yield _row(number, line)


def few_blank_lines(
    rows: Iterable[tuple[int, dict[str, Any]] | Reject],
) -> Iterator[tuple[int, dict[str, Any]] | Reject]:
    """The rows of ``stream_rows`` with the first 100 blank lines, and one reject for the others."""
    blank = last = 0
    for row in rows:
        if isinstance(row, Reject) and row.reason == BLANK:
            blank, last = blank + 1, row.row
            if blank > MAX_BLANK_LINES:
                continue
        yield row
    if blank > MAX_BLANK_LINES:
        yield Reject(last, f"{blank - MAX_BLANK_LINES} more blank lines")


def _skip_line(file: Any) -> bool:
    """Read to the end of a line; false if it has more than ``MAX_SKIPPED_BYTES``."""
    for _ in range(MAX_SKIPPED_BYTES // MAX_LINE_BYTES):
        rest = file.readline(MAX_LINE_BYTES)
        if not rest or rest.endswith(b"\n"):
            return True
    return False


def _row(number: int, line: bytes) -> tuple[int, dict[str, Any]] | Reject:
    if not line.strip():
        return Reject(number, BLANK)
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Reject(number, f"no JSON: {error}")
    return _object(number, row)


def _elements(document: bytes) -> Iterator[tuple[int, dict[str, Any]] | Reject]:
    if len(document) > MAX_DOCUMENT_BYTES:
        reason = f"a JSON list of more than {MAX_DOCUMENT_BYTES} bytes; write it as JSON Lines"
        yield Reject(1, reason)
        return
    try:
        rows = json.loads(document)
    except (ValueError, RecursionError) as error:
        yield Reject(1, f"no JSON: {error}")
        return
    for place, row in enumerate(rows, start=1):
        yield _object(place, row)


def _object(number: int, row: Any) -> tuple[int, dict[str, Any]] | Reject:
    if isinstance(row, dict):
        return number, row
    return Reject(number, f"got a JSON {type(row).__name__}; need an object")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON Lines while they are produced; the file appears once it is complete.

    Args:
        path: the file; one that exists is replaced.
        rows: any number of mappings that JSON can represent.

    Raises:
        OSError: the file cannot be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_rows(Path(folder, "rows.jsonl"), [{"a": 1}])
        ...     list(stream_rows(Path(folder, "rows.jsonl")))
        [(1, {'a': 1})]
    """
    with atomic_write(path) as name, name.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically: the whole of it, or nothing.

    Raises:
        OSError: the file cannot be written.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder, "note"), "all")
        ...     Path(folder, "note").read_text()
        'all'
    """
    with atomic_write(path) as name:
        name.write_text(text, encoding="utf-8")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of a file, moved to that file unless an error is raised.

    Args:
        path: the file to write; one that exists is replaced and keeps its permissions, and a link
            stays a link to it.

    Raises:
        OSError: it cannot be written; a file that was there before is left unchanged.

    Examples:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder, "note")) as name:
        ...         written = name.write_text("all")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note']
    """
    # A link stays a link: the file that it points to is replaced.
    path = Path(path).resolve()
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    name = Path(made)
    try:
        yield name
        name.chmod(_permissions(path))
        name.replace(path)
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
    finally:
        name.unlink(missing_ok=True)


def _permissions(path: Path) -> int:
    """The permissions of a file, or of a new file where there is none.

    mkstemp creates files that only their owner can read.
    """
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read_jsonl(path: str | Path) -> tuple[list[tuple[int, dict[str, Any]]], list[Reject]]:
    r"""All objects of a JSON Lines file with their line numbers, and all lines that hold none.

    Args:
        path: UTF-8 text, gzip-compressed if the name ends in ``.gz``; see ``stream_rows``.

    Raises:
        OSError: the file cannot be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder, "rows.jsonl"), '{"a": 1}\n7\n')
        ...     read_jsonl(Path(folder, "rows.jsonl"))
        ([(1, {'a': 1})], [Reject(row=2, reason='got a JSON int; need an object')])
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    rejected: list[Reject] = []
    for row in few_blank_lines(stream_rows(path)):
        if isinstance(row, Reject):
            rejected.append(row)
        else:
            rows.append(row)
    return rows, rejected


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, atomically: the whole file, or nothing.

    Raises:
        ValueError: the data hold NaN or infinity, which JSON cannot represent.
        OSError: the file cannot be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "result.json"), {"accuracy": 0.5})
        ...     json.loads(Path(folder, "result.json").read_text())
        {'accuracy': 0.5}
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def check_writable(
    path: str | Path, inputs: Iterable[str | Path] = (), outputs: Iterable[str | Path] = ()
) -> None:
    """Raise before any work is spent if an output file could not be written later.

    Args:
        path: the output file.
        inputs: files that are read, none of which may be the output.
        outputs: other paths that are written, none of which may be this one.

    Raises:
        ValueError: the path is a folder, a device, one of the inputs or another output, or its
            folder is missing or read-only.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     check_writable(file.name, inputs=[file.name])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: got ... as an output file, which is also an input; name another file
    """
    path = Path(path)
    for source in map(Path, inputs):
        if path.exists() and source.exists() and path.samefile(source):
            raise ValueError(
                f"got {path} as an output file, which is also an input; name another file"
            )
    for other in map(Path, outputs):
        if path.resolve() == other.resolve():
            raise ValueError(f"got {path} for two outputs; name another file for one of them")
    if path.is_dir():
        raise ValueError(f"got the folder {path} as an output file; name a file in it")
    if path.exists() and not path.is_file():
        # Moving the finished file there would replace the device.
        raise ValueError(
            f"got {path} as an output file, which is a device or a pipe; name a regular file"
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"cannot write {path}: the folder {path.parent} does not exist; mkdir -p {path.parent}"
        )
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"cannot write {path}: the folder {path.parent} is read-only")
