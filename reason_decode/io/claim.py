"""A file or folder that belongs to one process while a command writes it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reason_decode.io.journal import lock

__all__ = ["claimed"]


@contextmanager
def claimed(path: str | Path) -> Iterator[None]:
    """Context in which no other process can claim a path.

    For results that are written whole at the end of a command: of two processes the later one would
    replace what the first one wrote. A locked file ``.NAME.lock`` lies beside the path meanwhile;
    one that a killed process left is taken over.

    Args:
        path: the file or folder; it need not exist, but its parent must.

    Raises:
        ValueError: another process has claimed it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with claimed(Path(folder, "out.json")):
        ...         print([path.name for path in Path(folder).iterdir()])
        ...     print(list(Path(folder).iterdir()))
        ['.out.json.lock']
        []
    """
    path = Path(path).resolve()
    name = path.with_name(f".{path.name}.lock")
    while True:
        file = name.open("ab")
        try:
            lock(file, path)
            # The process before may have removed the file between its opening and the lock here.
            if name.exists() and os.path.samestat(name.stat(), os.fstat(file.fileno())):
                break
        except BaseException:
            file.close()
            raise
        file.close()
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        file.close()
