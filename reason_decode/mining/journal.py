"""What a run has done so far, in a file that a crash at any moment leaves usable."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.records import Mined, to_row

__all__ = ["Journal", "read_journal"]


class Journal(AbstractContextManager["Journal"]):
    """Results by document, one line each, written before the next result is asked for.

    A document is done when its line is whole. A line that was being written when the process was
    killed is cut off when the file is opened again, and its document is done anew.

    Args:
        path: of the file; made where there is none. No two processes may have it open.

    Raises:
        ValueError: another process has it open, or a line inside it is no result.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from reason_decode.mining import Document, Journal, Mined
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Journal(f"{folder}/journal.jsonl") as journal:
        ...         journal.write(Mined("1", "web", similarity=None, records=()))
        ...     with Journal(f"{folder}/journal.jsonl") as journal:
        ...         Document("1", "web", "text") in journal
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            _lock(self.file, self.path)
            self.done = {(row["source"], row["id"]) for row in read_journal(self.path)}
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

    def __contains__(self, item: object) -> bool:
        document = item.document if isinstance(item, Dropped) else item
        return isinstance(document, Document) and (document.source, document.id) in self.done

    def write(self, result: Mined | Dropped) -> None:
        """Add a line; when this returns, a kill of the process no longer loses it."""
        row = to_row(result)
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        # Unbuffered: one write of the system a line, unless that takes only part of it.
        while line:
            line = line[self.file.write(line) or 0 :]
        self.done.add((row["source"], row["id"]))

    def __exit__(self, *args: object) -> None:
        self.file.close()


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal, see ``to_row``; what follows the last line break is left out.

    Raises:
        ValueError: a whole line is no result.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                _ = row["source"], row["id"], row["records"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number} is no result of mining ({error!r}); was it edited? "
                    "Delete the line, and its document is done anew"
                ) from error
            yield row


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes out until the file is closed or this process ends, however it ends."""
    if find_spec("fcntl") is None:
        return  # not a POSIX system
    fcntl: Any = import_module("fcntl")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another process is writing {path}; wait for it, or choose another folder"
        ) from None
