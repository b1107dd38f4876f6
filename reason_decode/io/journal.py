"""What a run has done so far, in a file that a crash at any moment leaves usable."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from reason_decode.io.jsonl import write_text

__all__ = ["Journal", "begin", "lock", "read_rows"]

Names = Callable[[Mapping[str, Any]], Iterable[Hashable]]
"""What a row says is done; raises where it is no such row."""


class Journal:
    """Results as JSON Lines, each written before the next one is asked for.

    What a row names is done when its line is whole. A line that was being written when the process
    was killed is cut off when the file is opened again, and what it names is done anew.

    Args:
        path: of the file; made where there is none. No two processes may have it open.
        names: what a row says is done.
        of: what makes such rows, for messages.

    Raises:
        ValueError: another process has it open, or a line inside it is no such row.
        OSError: it cannot be written.
    """

    def __init__(self, path: str | Path, names: Names, of: str = "this command") -> None:
        self.path, self.names = Path(path), names
        self.file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            lock(self.file, self.path)
            rows = read_rows(self.path, names, of)
            self.done: set[Hashable] = {name for row in rows for name in names(row)}
            self._cut()
        except BaseException:
            self.file.close()
            raise

    def _cut(self) -> None:
        """Cut off what follows the last line break."""
        end = self.file.seek(0, 2)
        while end:
            start = max(end - 65_536, 0)
            self.file.seek(start)
            place = self.file.read(end - start).rfind(b"\n")
            end = start + place + 1
            if place >= 0:
                break
        self.file.truncate(end)

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add lines; when this returns, a kill of the process no longer loses them.

        Raises:
            OSError: they cannot be written, for the disk is full, say; none of them is there then.
            ValueError: NaN or infinity, which JSON has no word for.
        """
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        data, end = "".join(lines).encode(), self.file.seek(0, 2)
        try:
            # Unbuffered: one write of the system, unless that takes only part of it.
            while data:
                data = data[self.file.write(data) or 0 :]
        except OSError as error:
            with suppress(OSError):
                self.file.truncate(end)
            why = error.strerror or str(error)
            raise OSError(
                error.errno,
                f"cannot write to {self.path} ({why}); what was done before is whole there. Make "
                "room, and give the same command again",
            ) from error
        self.done.update(name for row in rows for name in self.names(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()


def read_rows(path: str | Path, names: Names, of: str = "this command") -> Iterator[dict[str, Any]]:
    """The whole lines of a journal; what follows the last line break is left out.

    Raises:
        ValueError: a whole line is no row of which ``names`` can tell what is done.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                _ = list(names(row))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number} is no result of {of} ({error!r}); was it edited? "
                    "Delete the line, and what it told is done anew"
                ) from error
            yield row


def begin(path: str | Path, settings: Mapping[str, Any], advice: str) -> None:
    """Write down what a run begins with, or check that it goes on with the same.

    Args:
        path: of a file beside the results; made where there is none.
        settings: what the results depend on, ready for ``json.dumps``.
        advice: how to go on where they differ, such as ``"take another --out"``.

    Raises:
        ValueError: the run was begun with other settings.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if not path.exists():
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(settings))
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        told = "; ".join(f"{name}: {before.get(name)!r}, now {now[name]!r}" for name in other)
        raise ValueError(f"{path.parent} was begun with other options ({told}); {advice}")


def lock(file: IO[bytes], path: Path) -> None:
    """Keep other processes out until the file is closed or this process ends, however it ends.

    Raises:
        ValueError: another process has it.
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
