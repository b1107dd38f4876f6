import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reason_decode.io.tables import read_table

ROWS = [{"question": "1 + 2?", "answer": "3"}, {"question": "2 + 2?\nOr not?", "answer": "4"}]


def write(path: Path) -> Path:
    """The two rows in the form that the file's name says."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(ROWS), path)
        return path
    mark = {"csv": ",", "tsv": "\t"}.get(kind)
    if mark is not None:
        lines = [f'"{row["question"]}"{mark}{row["answer"]}' for row in ROWS]
        text = "\ufeffquestion" + mark + "answer\n" + "\n".join(lines)
    elif kind == "json":
        text = json.dumps({"examples": ROWS}, indent=1)
    else:
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"],
)
def test_every_form_holds_the_same_rows(tmp_path: Path, name: str):
    rows, rejected = read_table(write(tmp_path / name))
    assert ([row for _, row in rows], rejected) == (ROWS, [])


def test_a_row_of_too_few_or_too_many_cells_is_rejected(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n4,5,6\n7,8\n")
    rows, rejected = read_table(path)
    assert [row for _, row in rows] == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert [reject.row for reject in rejected] == [3, 4]
    assert "need 2 cells" in rejected[0].reason


def test_what_is_no_table_is_an_error_that_names_it(tmp_path: Path):
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"a\.parquet is no Parquet file"):
        read_table(broken)
    with pytest.raises(OSError, match="none"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="subset=main and split=None for the file"):
        read_table(broken, subset="main")


def test_a_hub_dataset_is_read_by_the_package_datasets(monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def load_dataset(name: str, subset: str | None, *, split: str) -> list[dict[str, str]]:
        asked.append((name, subset, split))
        return ROWS

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    rows, _ = read_table("openai/gsm8k", subset="main")
    assert ([row for _, row in rows], asked) == (ROWS, [("openai/gsm8k", "main", "test")])

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("Config name is missing.\nPlease pick one among ['main', 'socratic']")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=fails))
    with pytest.raises(OSError, match="subset=None and split=test .*'socratic'"):
        read_table("openai/gsm8k")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install 'reason-decode.datasets.'"):
        read_table("openai/gsm8k")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install 'reason-decode.parquet.'"):
        read_table(__file__.replace("test_tables.py", "x.parquet"))
