import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

RIGHT = (
    "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n30 - 6 = 24 (left: 24)\n"
    "Answer: 5 * (10 - 4) - 6 = 24"
)
WRONG = "4 + 5 = 9 (left: 6 9 10)\nAnswer: 4 + 5 + 6 + 10 = 25"

Benchmark = Callable[[str], Any]


@pytest.fixture
def task(tmp_path: Path) -> list[str]:
    data = tmp_path / "24.csv"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,1 1 11 11\n")
    return ["--input", str(data), "--store", str(tmp_path / "store.jsonl")]


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    path = tmp_path / "samples.jsonl"
    row = {"rank": 901, "puzzle": "4 5 6 10", "samples": [WRONG, WRONG, RIGHT, ""]}
    path.write_text(json.dumps(row) + "\n")
    return ["--samples", str(path), "--store", str(tmp_path / "store.jsonl")]


def test_curves_samples_scores_and_draws_a_pool(
    tmp_path: Path, benchmark: Benchmark, capsys: pytest.CaptureFixture[str], task: list[str]
) -> None:
    plots = [tmp_path / "curves.png", tmp_path / "curves.svg"]
    out = tmp_path / "out.json"
    options = ["--pool", "3", "--output", str(out)]
    if _has_matplotlib():
        options += ["--plot", *map(str, plots)]
    assert benchmark("papers.curves").main([*task, *options]) == 0
    printed = capsys.readouterr().out
    assert "2 problems, 3 samples each" in printed
    assert all(name in printed for name in ("pass@N", "majority", "PRM prod", "PRM prod vote"))
    result = json.loads(out.read_text())
    assert result["counts"] == [1, 2, 3]
    first = {name: estimates[0][0] for name, estimates in result["curves"].items()}
    assert first == dict.fromkeys(first, pytest.approx(first["pass@N"]))
    if _has_matplotlib():
        assert plots[0].read_bytes()[1:4] == b"PNG" and b"<svg" in plots[1].read_bytes()


def test_curves_resumes_a_stopped_run_and_adds_a_larger_pool(
    tmp_path: Path, benchmark: Benchmark, task: list[str]
) -> None:
    curves, store = benchmark("papers.curves"), tmp_path / "store.jsonl"
    run = [*task, "--chunk", "2"]
    assert curves.main([*run, "--pool", "4"]) == 0
    whole = store.read_bytes()
    assert curves.main([*run, "--pool", "4"]) == 0
    assert store.read_bytes() == whole
    # As a run leaves it that was killed while it wrote the second chunk of the first problem.
    lines = whole.splitlines(keepends=True)
    store.write_bytes(lines[0] + lines[1][:40])
    assert curves.main([*run, "--pool", "4"]) == 0
    assert _rows(store.read_bytes()) == _rows(whole)
    assert curves.main([*run, "--pool", "5"]) == 0
    assert len(_rows(store.read_bytes())) == len(_rows(whole)) + 4


def test_curves_reads_samples_of_another_model(
    tmp_path: Path, benchmark: Benchmark, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    out = tmp_path / "out.json"
    assert benchmark("papers.curves").main([*given, "--output", str(out)]) == 0
    assert "1 problems, 4 samples each" in capsys.readouterr().out
    result = json.loads(out.read_text())
    means = {name: [x[0] for x in rows] for name, rows in result["curves"].items()}
    assert result["counts"] == [1, 2, 4]
    assert means["pass@N"] == [0.25, 0.5, 1]
    assert means["PRM prod"] == means["pass@N"]
    assert (means["majority"][0], means["majority"][-1]) == (0.25, 0)
    assert result["gains"]["PRM prod"][-1] == [1, 1, 1]


def test_each_scorer_is_a_column_of_curves(
    tmp_path: Path,
    benchmark: Benchmark,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    from reason_decode import tiny

    models, folder = tiny.load(), tmp_path / "orm"
    torch.manual_seed(0)
    outcome: Any = AutoModelForSequenceClassification.from_pretrained(
        tiny.WEIGHTS / "base", num_labels=1
    )
    outcome.save_pretrained(folder)
    models.tokenizer.save_pretrained(folder)
    main = benchmark("papers.curves").main
    assert main([*given, "--scorer", "tiny"]) == 0
    scorers = ["tiny", str(tiny.WEIGHTS / "prm"), f"orm={folder}"]
    assert main([*given, "--scorer", *scorers]) == 0
    header = capsys.readouterr().out.split("4 samples each")[2].splitlines()[2]
    assert all(name in header for name in ("PRM tiny prod", "prm prod vote", "ORM vote"))
    # One line for the samples and one for the scores of each scorer.
    assert len(_rows((tmp_path / "store.jsonl").read_bytes())) == 1 + 3


def test_curves_refuses_a_store_of_other_samples(
    benchmark: Benchmark, task: list[str], given: list[str]
) -> None:
    curves = benchmark("papers.curves")
    assert curves.main([*given, "--limit", "1"]) == 0
    with pytest.raises(ValueError, match="was started with other settings"):
        curves.main([*task, "--pool", "2"])


@pytest.mark.parametrize(
    "options", [["--pool", "0"], ["--pool", "257"], ["--chunk", "0"], ["--temperature", "0"]]
)
def test_curves_refuses_bad_options_before_any_work(
    tmp_path: Path, benchmark: Benchmark, task: list[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmark("papers.curves").main([*task, *options])
    assert not (tmp_path / "store.jsonl").exists()


def _rows(text: bytes) -> list[Any]:
    """The whole lines of a store."""
    rows: list[Any] = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    # By problem, since a resumed run first samples all problems and then scores them.
    return sorted(rows, key=lambda row: (row.get("id", 0), "scores" in row, row.get("start", 0)))


def _has_matplotlib() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True
