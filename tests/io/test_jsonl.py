import gzip
import json
import random
from pathlib import Path

import pytest

from reason_decode.io.jsonl import (
    Reject,
    check_writable,
    read_jsonl,
    write_json,
    write_text,
)

LINES = b'{"a": 1}\n\n[2]\nnot json\n\xff\n' + b"[" * 100_000 + b'\n{"a": 7}'


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_good_rows_survive_bad_ones(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES) if name.endswith("gz") else LINES)
    rows, rejected = read_jsonl(path)
    assert rows == [(1, {"a": 1}), (7, {"a": 7})]
    assert [reject.row for reject in rejected] == [2, 3, 4, 5, 6]
    assert rejected[:2] == [Reject(2, "blank line"), Reject(3, "got a JSON list; need an object")]


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
def test_a_json_document_is_read_as_its_rows_and_lines_under_that_name_too(
    tmp_path: Path, name: str
):
    path = tmp_path / name
    for text in (b'[\n {"a": 1},\n 2\n]\n', b'{"a": 1}\n2\n'):
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        assert read_jsonl(path) == ([(1, {"a": 1})], [Reject(2, "got a JSON int; need an object")])
    path.write_bytes(gzip.compress(b"[1,") if name.endswith("gz") else b"[1,")
    assert read_jsonl(path)[1][0].reason.startswith("no JSON")


def test_a_gzip_file_that_ends_early_gives_what_came_before(tmp_path: Path):
    path = tmp_path / "rows.gz"
    noise = random.Random(0)
    rows = [{"row": i, "noise": noise.getrandbits(60)} for i in range(10_000)]
    data = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path.write_bytes(data[: len(data) // 2])
    read, rejected = read_jsonl(path)
    assert 0 < len(read) < 10_000 and [row for _, row in read] == rows[: len(read)]
    assert rejected[-1].reason.startswith("the gzip file is broken from here on")


def test_a_gzip_file_with_bad_bytes_gives_what_came_before_and_says_where_it_breaks(tmp_path: Path):
    path = tmp_path / "rows.gz"
    noise = random.Random(0)
    rows = [{"row": i, "noise": noise.getrandbits(60)} for i in range(20_000)]
    data = bytearray(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    read, rejected = read_jsonl(path)
    # What is decompressed from bad bytes may be rows, too, until the fault shows.
    before = [row for _, row in read[:9_000]]
    assert before == rows[:9_000] and len(read) + len(rejected) < 20_100
    assert rejected[-1].reason.startswith("the gzip file is broken from here on, or from before")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "out.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_refused_beforehand(tmp_path: Path):
    check_writable(tmp_path / "out.json")
    with pytest.raises(ValueError, match="mkdir -p"):
        check_writable(tmp_path / "missing" / "out.json")
    with pytest.raises(ValueError, match="name a file in it"):
        check_writable(tmp_path)
