import gzip
import json
from pathlib import Path

import pytest

from reason_decode.cli import main
from reason_decode.cli import rerank as command
from tests.fakes import TableScorer

SAMPLES = ["Steps:\nAnswer: 4 + 5 + 6 + 10 = 25", "Answer: 5 * (10 - 4) - 6 = 24"]


def test_grades_prints_and_writes_its_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    scorer = TableScorer(lambda step: 0.9 if step.endswith("24") else 0.1)
    monkeypatch.setattr(command, "scorer_from_options", lambda options, **_: scorer)
    source, out = tmp_path / "samples.jsonl.gz", tmp_path / "out.json"
    row = {"puzzle": "4 5 6 10", "samples": SAMPLES}
    source.write_bytes(gzip.compress(f"{json.dumps(row)}\nbroken\n".encode()))
    argv = ["rerank", "--scorer", "tiny", "--input", str(source), "--task", "game24"]
    assert main([*argv, "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["task"], result["scorer"], result["reduce"]) == ("game24", "tiny", "prod")
    assert result["best_of_n"] == {"right": 1, "of_solvable": 1.0, "accuracy": 1.0}
    assert result["rows"][0]["best_of_n"]["index"] == 1
    assert result["rejected"][0]["row"] == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "game24: 1 problems, 2 samples, 1 problems with a right one"
    right = ["1", "100.0", "%", "20.7-100.0", "100.0", "%"]
    assert printed[4].split() == ["best", "of", "n", *right]
    assert printed[5].split()[0] == "vote" and printed[6].split()[:2] == ["weighted", "vote"]
    assert printed[7].startswith("set aside: line 2: no JSON")


def test_rows_that_say_what_is_right_need_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    scorer = TableScorer(lambda step: 0.9 if "6 * 7" in step else 0.1)
    monkeypatch.setattr(command, "scorer_from_options", lambda options, **_: scorer)
    samples = ["6 * 7 = 42\nThe answer is 42.", "6 + 7 = 13\nThe answer is 13."]
    rows = [
        {"prompt": "What is six times seven?", "samples": samples, "answer": "6 * 7\n#### 42"},
        {"prompt": "What is six times seven?", "samples": samples, "correct": [True, False]},
        {"prompt": "What is six times seven?", "samples": samples},
    ]
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.json"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["rerank", "--input", str(source), "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["task"], result["best_of_n"]["right"], result["problems"]) == (None, 2, 2)
    assert "give `correct`" in result["rejected"][0]["reason"]
    assert capsys.readouterr().out.startswith(f"{source}: 2 problems, 4 samples")


def test_steps_end_where_an_option_says(tmp_path: Path) -> None:
    """Only a scorer's own separator split solutions, and no option could say another one."""
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.json"
    row = {"prompt": "1 + 2?", "samples": ["1 + 2 = 3; The answer is 3."], "correct": [True]}
    source.write_text(json.dumps(row))
    argv = ["rerank", "--input", str(source), "--output", str(out), "--step-separator"]
    scores = []
    for separators in (["; "], ["\\n"], [". ", "; "]):
        assert main([*argv, *separators]) == 0
        scores.append(json.loads(out.read_text())["rows"][0]["best_of_n"]["score"])
    assert scores[0] == scores[2] != scores[1]
    assert main([*argv, "; ", "--step-tokens", "3"]) == 2
