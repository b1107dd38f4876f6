import json
from pathlib import Path

import pytest

from reason_decode.cli import main
from reason_decode.serving import from_options
from tests.fakes import ByteTokenizer, Guided, ScriptedModel


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch):
    guided = Guided(lambda prompt: ["", f"Answer: {' * '.join(prompt[13:-2].split())} = 24"])
    monkeypatch.setattr(from_options, "load_model", lambda *_: (ScriptedModel(), ByteTokenizer()))
    monkeypatch.setattr(from_options, "strategy_from_options", lambda *_: guided)


def test_prints_a_table_and_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data, out = tmp_path / "24.csv", tmp_path / "out.json"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,1 1 3 8\n3,2 2 2 2\nx\n4,1 1 2 12\n")
    argv = ["eval", "--input", str(data), "--task", "game24", "--rows", "2:5", "--limit", "2"]
    assert main([*argv, "--strategy", "best-of-n", "--seed", "7", "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["items"], result["correct"], result["accuracy"]) == (2, 1, 0.5)
    assert (result["task"], result["seed"], result["pass_at_n"]) == ("game24", 7, 0.5)
    assert [row["id"] for row in result["rows"]] == [2, 3]
    assert [reject["row"] for reject in result["rejected"]] == [5]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:4] == ["task", "strategy", "n", "seed"]
    assert printed[1].split()[:2] == ["game24", "best-of-n"] and "50.0 %" in printed[1]
    assert printed[2].startswith("set aside: row 5: ")


def test_checks_the_output_before_it_loads_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: pytest.fail("loaded"))
    argv = ["eval", "--input", "x", "--task", "game24", "--strategy", "greedy"]
    assert main([*argv, "--output", str(tmp_path / "no" / "out.json")]) == 2
    assert "mkdir -p" in capsys.readouterr().err


def test_writes_traces_to_their_own_file(tmp_path: Path):
    data, out, traces = tmp_path / "24.csv", tmp_path / "out.json", tmp_path / "traces.jsonl"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,2 2 2 2\n")
    argv = ["eval", "--input", str(data), "--task", "game24", "--strategy", "best-of-n"]
    assert main([*argv, "--output", str(out), "--trace", str(traces)]) == 0
    result = json.loads(out.read_text())
    run, *rows = map(json.loads, traces.read_text().splitlines())
    kept = ("id", "correct", "text", "score")
    assert result["rows"] == [{k: row[k] for k in kept} for row in rows]
    assert run == {"run": {name: x for name, x in result.items() if name != "rows"}}
    assert [row["target"] for row in rows] == ["24", "24"]
    assert [len(row["trace"]["candidates"]) for row in rows] == [2, 2]


def test_rejects_traces_of_plain_decoding(capsys: pytest.CaptureFixture[str]):
    argv = ["eval", "--input", "x", "--task", "game24", "--strategy", "greedy", "--trace", "y"]
    assert main(argv) == 2
    assert "compares no candidates" in capsys.readouterr().err


def test_the_result_on_standard_output_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = tmp_path / "24.csv"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,2 2 2 2\n")
    argv = ["eval", "--input", str(data), "--task", "game24", "--strategy", "best-of-n"]
    assert main([*argv, "--output", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["items"] == 2
    assert err.splitlines()[0] == "best-of-n of tiny: temperature 1.0"
    assert err.splitlines()[1].startswith("task ")
    assert [path.name for path in tmp_path.iterdir()] == ["24.csv"]


def test_a_prompt_cannot_show_the_solution_that_it_asks_for(capsys: pytest.CaptureFixture[str]):
    argv = ["eval", "--input", "x.jsonl", "--strategy", "greedy", "--few-shot", "2"]
    assert main([*argv, "--few-shot-input", "x.jsonl"]) == 2
    assert "name another file of solved problems" in capsys.readouterr().err
