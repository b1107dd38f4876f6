import gzip
import json
import random
from pathlib import Path

import pytest

from reason_decode.io.jsonl import (
    MAX_LINE_BYTES,
    check_writable,
    read_jsonl,
    stream_rows,
    write_json,
    write_text,
)
from reason_decode.io.read_report import Reject

LINES = b'{"a": 1}\n\n[2]\nnot json\n\xff\n' + b"[" * 100_000 + b'\n{"a": 7}'


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_reads_good_rows_among_malformed_ones(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES) if name.endswith("gz") else LINES)
    rows, rejected = read_jsonl(path)
    assert rows == [(1, {"a": 1}), (7, {"a": 7})]
    assert [reject.row for reject in rejected] == [2, 3, 4, 5, 6]
    assert rejected[:2] == [Reject(2, "blank line"), Reject(3, "got a JSON list; need an object")]


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
def test_json_files_hold_a_list_or_lines(tmp_path: Path, name: str):
    path = tmp_path / name
    for text in (b'[\n {"a": 1},\n 2\n]\n', b'{"a": 1}\n2\n'):
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        assert read_jsonl(path) == ([(1, {"a": 1})], [Reject(2, "got a JSON int; need an object")])
    path.write_bytes(gzip.compress(b"[1,") if name.endswith("gz") else b"[1,")
    assert read_jsonl(path)[1][0].reason.startswith("no JSON")


def test_reads_a_truncated_gzip_file_up_to_the_break(tmp_path: Path):
    path = tmp_path / "rows.gz"
    noise = random.Random(0)
    rows = [{"row": i, "noise": noise.getrandbits(60)} for i in range(10_000)]
    data = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path.write_bytes(data[: len(data) // 2])
    read, rejected = read_jsonl(path)
    assert 0 < len(read) < 10_000 and [row for _, row in read] == rows[: len(read)]
    assert rejected[-1].reason.startswith("the gzip file is broken from here on")


def test_reads_a_corrupt_gzip_file_up_to_the_fault(tmp_path: Path):
    path = tmp_path / "rows.gz"
    noise = random.Random(0)
    rows = [{"row": i, "noise": noise.getrandbits(60)} for i in range(20_000)]
    data = bytearray(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    read, rejected = read_jsonl(path)
    # Corrupt bytes may decompress to rows as well, before the fault shows.
    before = [row for _, row in read[:9_000]]
    assert before == rows[:9_000] and len(read) + len(rejected) < 20_100
    assert rejected[-1].reason.startswith("the gzip file is broken from here on, or from before")


def test_a_failed_write_leaves_the_old_file_only(tmp_path: Path):
    path = tmp_path / "out.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_check_writable_rejects_unusable_paths(tmp_path: Path):
    check_writable(tmp_path / "out.json")
    with pytest.raises(ValueError, match="mkdir -p"):
        check_writable(tmp_path / "missing" / "out.json")
    with pytest.raises(ValueError, match="name a file in it"):
        check_writable(tmp_path)


def test_a_line_that_is_too_long_is_set_aside_and_the_next_one_read(tmp_path: Path):
    """A line of 60 MB of empty lists took more than a gigabyte."""
    path = tmp_path / "rows.jsonl"
    long = b'{"x": "' + b"a" * (2 * MAX_LINE_BYTES) + b'"}\n'
    path.write_bytes(long + b'{"a": 1}\n' + long[: MAX_LINE_BYTES + 1])
    reason = f"a line of more than {MAX_LINE_BYTES} bytes"
    assert read_jsonl(path) == ([(2, {"a": 1})], [Reject(1, reason), Reject(3, reason)])


def test_many_blank_lines_are_one_reject(tmp_path: Path):
    """30 kB of gzip held 30 million blank lines, each of which was kept."""
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' + b"\n" * 100_000 + b'{"a": 2}\n'))
    rows, rejected = read_jsonl(path)
    assert [number for number, _ in rows] == [1, 100_002] and len(rejected) == 101
    assert rejected[-1] == Reject(100_001, "99900 more blank lines")
    assert sum(isinstance(row, Reject) for row in stream_rows(path)) == 100_000


def test_a_json_list_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A gzip file of spaces took 3.3 GB."""
    monkeypatch.setattr("reason_decode.io.jsonl.MAX_DOCUMENT_BYTES", 1000)
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(b"[" + b" " * 10_000 + b"{}]"))
    ((), (reject,)) = read_jsonl(path)
    assert reject.reason == "a JSON list of more than 1000 bytes; write it as JSON Lines"


def test_a_link_is_followed_and_permissions_are_kept(tmp_path: Path):
    """``--output`` at a link replaced the link by a file that everybody could read."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_json(link, {"a": 1})
    assert link.is_symlink() and json.loads(real.read_text()) == {"a": 1}
    assert real.stat().st_mode & 0o777 == 0o640
