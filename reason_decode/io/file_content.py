"""Kinds of files by their first bytes, and errors that name what a file is in truth."""

import re
from pathlib import Path

__all__ = ["check_content", "is_list_of_objects"]

_GZIP, _PARQUET, _ZIP = b"\x1f\x8b", b"PAR1", b"PK\x03\x04"
_LFS = b"version https://git-lfs.github.com/spec/"
_LIST = re.compile(rb"\s*\[\s*\{")


def check_content(path: str | Path) -> None:
    """Raise if the first bytes of a file contradict its name, or if it only stands for another.

    Devices and pipes are not looked at, since their bytes can be read only once.

    Args:
        path: a file that is to be read as rows; one that is missing is left to its reader.

    Raises:
        ValueError: a Git LFS pointer, or a gzip, zip or Parquet file under another ending.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(len(_LFS))
    name = path.name.lower()
    if head.startswith(_LFS):
        raise ValueError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its "
            "repository, or download the file"
        )
    if head.startswith(_GZIP) and not name.endswith(".gz"):
        raise ValueError(
            f"{path} is gzip-compressed, and its name does not end in .gz: rename it to "
            f"{path.name}.gz, or decompress it"
        )
    if head.startswith(_PARQUET) and not name.endswith(".parquet"):
        raise ValueError(f"{path} is a Parquet file; let its name end in .parquet")
    if head.startswith(_ZIP):
        raise ValueError(f"{path} is a zip archive; unpack it, and name the file that it holds")


def is_list_of_objects(line: bytes, following: bytes) -> bool:
    r"""True if a file's first line begins a JSON list of objects that is not the row of one line.

    Args:
        line: the first line.
        following: the bytes after it, or their beginning.

    Examples:
        >>> is_list_of_objects(b'[{"a": 1},\n', b'{"a": 2}]')
        True
        >>> is_list_of_objects(b'[1]\n', b'{"a": 2}\n')
        False
    """
    line = line.strip()
    if line == b"[":
        return _LIST.match(line + following) is not None
    if _LIST.match(line) is None:
        return False
    return line.endswith((b",", b"{")) or (line.endswith(b"]") and not following.strip())
