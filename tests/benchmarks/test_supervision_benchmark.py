import json

import pytest

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own

SMALL = ["--tests", "2", "--pool", "4", "--problems", "3", "--samples", "4", "--seeds", "1"]


def test_every_teacher_teaches_and_a_rerun_trains_nothing_anew(tmp_path, capsys, benchmark):
    run = benchmark("supervision")
    arguments = ["teachers", "--out", str(tmp_path), *SMALL, "--sizes", "6", "--epochs", "0.2"]
    assert run.main(arguments) == 0
    rows = json.loads((tmp_path / "teachers.json").read_text())
    assert {row["way"] for row in rows} == {*run.TEACHERS, "PRM_large itself"}
    assert all(0 <= x <= 1 for row in rows for problem in row["accuracy"] for x in problem)
    folder = tmp_path / "PRM-from-PRM_large-6-0" / "model.safetensors"
    trained = folder.stat().st_mtime_ns
    first = capsys.readouterr().out
    assert run.main(arguments) == 0
    assert folder.stat().st_mtime_ns == trained
    # Behind what transformers' Trainer says of itself.
    assert first.endswith(capsys.readouterr().out)


def test_active_learning_is_beside_chance(tmp_path, capsys, benchmark):
    run = benchmark("supervision")
    arguments = ["active", "--out", str(tmp_path), *SMALL, "--rounds", "1", "--epochs", "0.2"]
    assert run.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "active" in printed and "uniform" in printed and "best of 4" in printed
