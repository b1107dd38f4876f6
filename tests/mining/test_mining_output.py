import json
import warnings
from pathlib import Path

import pytest

from reason_decode.mining import Document, Dropped, MiningJournal, MiningResult, Record
from reason_decode.mining.output import check_parquet, write_outputs
from reason_decode.mining.report import MiningReport, draw_deltas

RESULTS = [
    MiningResult(
        "1",
        "web",
        0.5,
        (
            Record(
                "1",
                "web",
                0.5,
                "ré",
                "filter",
                "",
                0,
                "a",
                "b",
                delta=1.26,
                mean_delta=0.3,
                tokens=4,
            ),
            Record("1", "web", 0.5, "low", "filter", "below", 1, "ab", "c", delta=-0.05, tokens=1),
            Record("1", "web", 0.5, "five", "faithful", "leak: the final answer"),
        ),
    ),
    Dropped(Document("2", "web", "text", similarity=0.1), "prefilter", "too far"),
    Dropped(Document("3", "sums", "text"), "dedup", "near duplicate: 1 of web"),
]


def journals(folder: Path) -> list[Path]:
    """Two, of which the second has a document of the first once more."""
    paths = [folder / "a", folder / "b"]
    for path, results in zip(paths, (RESULTS, RESULTS[:1]), strict=True):
        with MiningJournal(path) as journal:
            for result in results:
                journal.write(result)
    return paths


def test_every_record_is_in_one_file_and_counted(tmp_path: Path):
    written = write_outputs(journals(tmp_path), tmp_path)
    (kept,) = map(json.loads, written.kept.read_text().splitlines())
    assert (kept["rationale"], kept["delta"], kept["similarity"]) == ("ré", 1.26, 0.5)
    dropped = [json.loads(line) for line in written.dropped.read_text().splitlines()]
    assert [(row["id"], row["stage"]) for row in dropped] == [
        ("1", "filter"),
        ("1", "faithful"),
        ("2", "prefilter"),
        ("3", "dedup"),
    ]
    assert json.loads(json.dumps(written.report.to_dict())) == {
        "documents": {
            "web": {"taken": 2, "mined": 1, "prefilter": 1},
            "sums": {"taken": 1, "dedup": 1},
        },
        "rationales": {"web": {"written": 3, "kept": 1, "filter": 1, "faithful": 1}},
        "reasons": {
            "filter": {"below": 1},
            "faithful": {"leak": 1},
            "prefilter": {"too far": 1},
            "dedup": {"near duplicate": 1},
        },
        "deltas": {"web": {"-0.1": 1, "1.2": 1}},
    }


def test_failed_outputs_leave_the_old_ones(tmp_path: Path):
    paths = journals(tmp_path)
    before = write_outputs(paths, tmp_path).kept.read_text()
    paths[1].write_text("rubbish\n")
    with pytest.raises(ValueError, match="no result of mining"):
        write_outputs(paths, tmp_path)
    assert (tmp_path / "rationales.jsonl").read_text() == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_parquet_holds_the_same(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    written = write_outputs(journals(tmp_path), tmp_path, parquet=True)
    (kept,) = parquet.read_table(written.kept).to_pylist()
    assert kept["rationale"] == "ré" and kept["delta"] == 1.26 and kept["index"] == 0


def test_parquet_without_pyarrow_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reason-decode\[parquet\]'"):
        check_parquet()


def test_the_plot_has_one_part_per_source(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    report = write_outputs(journals(tmp_path), tmp_path).report
    report.deltas["sums"][3] = 2
    assert draw_deltas(report, {"": 0.0, "sums": 1.25}, tmp_path / "deltas.svg")
    drawn = (tmp_path / "deltas.svg").read_text()
    assert "web" in drawn and "sums" in drawn and "threshold 1.25" in drawn
    with warnings.catch_warnings():
        assert not draw_deltas(MiningReport(), 0.0, tmp_path / "none.svg")
