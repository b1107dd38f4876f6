"""Files that are not what their names say: the error names the cause."""

import doctest
import gzip
import json
from pathlib import Path

import pytest

from reason_decode.cli import main
from reason_decode.io import file_content
from reason_decode.io.jsonl import stream_rows
from reason_decode.io.tables import read_table

ROW = {"prompt": "p", "completions": ["a"], "labels": [True]}
LINE = json.dumps(ROW).encode() + b"\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"
CAUSES = {
    "an LFS pointer": ("x.jsonl", LFS, "Git LFS pointer, not the file itself: run `git lfs pull`"),
    "an LFS pointer of Parquet": ("x.parquet", LFS, "Git LFS pointer"),
    "an LFS pointer of gzip": ("x.jsonl.gz", LFS, "Git LFS pointer"),
    "an LFS pointer of CSV": ("x.csv", LFS, "Git LFS pointer"),
    "gzip without its ending": ("x.jsonl", gzip.compress(LINE), "gzip-compressed, and its name"),
    "Parquet without its ending": ("x.jsonl", b"PAR1 and more", "is a Parquet file"),
    "a zip archive": ("x.jsonl", b"PK\x03\x04 and more", "is a zip archive; unpack it"),
    "a list on one line": ("x.jsonl", json.dumps([ROW, ROW]).encode(), "holds one JSON list"),
    "a list of lines": ("x.jsonl", json.dumps([ROW, ROW], indent=1).encode(), "one JSON list"),
    "a list of rows": ("x.jsonl", b"[" + LINE[:-1] + b",\n" + LINE + b"]", "holds one JSON list"),
}


@pytest.mark.parametrize("case", CAUSES)
def test_the_error_names_what_a_file_is_in_truth(tmp_path, capsys, case):
    """``train`` said "no JSON: Expecting value", or "codec can't decode", of each of these."""
    name, data, cause = CAUSES[case]
    (tmp_path / name).write_bytes(data)
    argv = ["train", "prm", "--input", str(tmp_path / name), "--output", str(tmp_path / "out")]
    assert main(argv) == 2
    assert cause in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_list_in_one_line_among_rows_is_set_aside_alone(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"[" + LINE.strip() + b"]\n" + LINE)
    rows, rejected = read_table(path)
    assert [row for _, row in rows] == [ROW] and [x.row for x in rejected] == [1]
    (tmp_path / "x.json").write_text(json.dumps([ROW]))
    assert list(stream_rows(tmp_path / "x.json")) == [(1, ROW)]


def test_the_examples_run():
    assert not doctest.testmod(file_content).failed
