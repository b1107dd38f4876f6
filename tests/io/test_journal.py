import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from reason_decode.io.journal import Journal, check_settings, read_rows
from reason_decode.io.jsonl import write_text


def names(row: Any) -> list[int]:
    return [int(row["id"])]


class FullDisk:
    """A file on a disk with a number of free bytes."""

    def __init__(self, file: Any, room: int):
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.file.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_keeps_the_rows_written_before(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    with Journal(path, names) as journal:
        journal.append({"id": 1}, {"id": 2})
        whole = path.read_bytes()
        file: Any = journal.file
        journal.file = FullDisk(file, 12)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left on device.*before are whole.*Make room"):
            journal.append({"id": 3}, {"id": 4})
        assert path.read_bytes() == whole and journal.done == {1, 2}
        journal.file = file
        journal.append({"id": 3})
    assert [row["id"] for row in read_rows(path, names)] == [1, 2, 3]


def test_a_full_disk_leaves_the_old_file_of_an_atomic_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "result.json"
    write_text(path, "before")

    def full(self: Path, data: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="cannot write .*result.json: No space left"):
        write_text(path, "after")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_rows_with_nan_are_rejected_before_anything_is_written(tmp_path: Path):
    with Journal(tmp_path / "rows.jsonl", names) as journal:
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.append({"id": 1}, {"id": 2, "score": float("nan")})
    assert (tmp_path / "rows.jsonl").read_bytes() == b""


def test_check_settings_rejects_changed_settings(tmp_path: Path):
    path = tmp_path / "settings.json"
    for _ in range(2):
        check_settings(path, {"n": 8, "rows": (1, 2)}, "take another --out")
    with pytest.raises(ValueError, match=r"\(n: 8, now 16\); take another --out"):
        check_settings(path, {"n": 16, "rows": (1, 2)}, "take another --out")
    assert json.loads(path.read_text())["n"] == 8


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000])
def test_settings_that_were_edited_are_named(tmp_path: Path, text: str):
    """A list in settings.json ended in a traceback."""
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="settings.json does not hold the settings of a run"):
        check_settings(path, {"n": 8}, "take another --output")
    assert path.read_text() == text


def test_a_line_of_brackets_is_no_result(tmp_path: Path):
    """100,000 opening brackets were a traceback of RecursionError."""
    path = tmp_path / "rows.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(ValueError, match="line 1 is no result of"):
        list(read_rows(path, lambda row: [row["id"]]))
