"""Journals: JSON Lines files of results that a crash at any moment leaves usable."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from reason_decode.io.jsonl import write_text

__all__ = ["Journal", "Keys", "check_settings", "lock", "read_rows"]

Keys = Callable[[Mapping[str, Any]], Iterable[Hashable]]
"""The keys of the items that a row completes. It raises KeyError, TypeError or ValueError for a row
of another form."""


class Journal:
    """Append-only file of results, one JSON line each; the file is locked while it is open.

    An item is done when a whole line has its key. A process that is killed while it writes leaves
    half a line: the next one that opens the file cuts it off, and the item is done again.

    Args:
        path: the file; made if there is none.
        keys: the keys of the items that a row completes.
        of: name of the command that makes such rows, for messages.

    Attributes:
        done: keys of all whole lines.

    Raises:
        ValueError: another process has it open, or a line is not such a row.
        OSError: it cannot be written.
    """

    def __init__(self, path: str | Path, keys: Keys, of: str = "this command") -> None:
        self.path, self.keys = Path(path), keys
        self.file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            lock(self.file, self.path)
            rows = read_rows(self.path, keys, of)
            self.done: set[Hashable] = {key for row in rows for key in keys(row)}
            self._cut_unfinished_line()
        except BaseException:
            self.file.close()
            raise

    def _cut_unfinished_line(self) -> None:
        """Cut off what follows the last line break."""
        end = self.file.seek(0, 2)
        while end:
            start = max(end - 65_536, 0)
            self.file.seek(start)
            last = self.file.read(end - start).rfind(b"\n")
            end = start + last + 1
            if last >= 0:
                break
        self.file.truncate(end)

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Append lines; when this returns, a kill of the process no longer loses them.

        Raises:
            OSError: they cannot be written, such as to a full disk; then none of them is there.
            ValueError: a number is NaN or infinite, which JSON cannot hold.
        """
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        data, end = "".join(lines).encode(), self.file.seek(0, 2)
        try:
            # The file is unbuffered: a write may take only a part of the data.
            while data:
                data = data[self.file.write(data) or 0 :]
        except OSError as error:
            with suppress(OSError):
                self.file.truncate(end)
            why = error.strerror or str(error)
            raise OSError(
                error.errno,
                f"cannot write to {self.path} ({why}); the results before are whole there. Make "
                "room, and give the same command again",
            ) from error
        self.done.update(key for row in rows for key in self.keys(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()


def read_rows(path: str | Path, keys: Keys, of: str = "this command") -> Iterator[dict[str, Any]]:
    """The whole lines of a journal as objects; text after the last line break is left out.

    Args:
        path: the file.
        keys: the keys of the items that a row completes.
        of: name of the command that makes such rows, for messages.

    Raises:
        ValueError: a whole line is not a row of which ``keys`` gives the keys.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                _ = list(keys(row))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(
                    f"{path}, line {number} is no result of {of} ({error!r}); was it edited? "
                    "Delete the line, and its item is done again"
                ) from error
            yield row


def check_settings(path: str | Path, settings: Mapping[str, Any], advice: str) -> None:
    """Write the settings of a new run, or check that the run was started with the same ones.

    Args:
        path: the file of settings beside the results; made if there is none.
        settings: everything that the results depend on, ready for ``json.dumps``.
        advice: what the user can do if they differ, such as ``"take another --output"``.

    Raises:
        ValueError: the run was started with other settings.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if not path.exists():
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{path} does not hold the settings of a run; was it edited? {advice}")
    now = json.loads(json.dumps(settings))
    other = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    if other:
        pairs = "; ".join(f"{x}: {before.get(x)!r}, now {now.get(x)!r}" for x in other)
        raise ValueError(f"{path.parent} was started with other settings ({pairs}); {advice}")


def lock(file: IO[bytes], path: Path) -> None:
    """Lock a file until it is closed or this process ends, however it ends.

    Args:
        file: the open file.
        path: its name, for the message.

    Raises:
        ValueError: another process has locked it.
    """
    if find_spec("fcntl") is None:
        return  # not a POSIX system
    fcntl: Any = import_module("fcntl")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another process is writing {path}; wait for it, or write somewhere else"
        ) from None
