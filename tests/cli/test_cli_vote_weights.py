import json
from pathlib import Path

import pytest

from reason_decode.cli import main


def test_it_prints_a_formula_that_generate_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    samples, out = tmp_path / "samples.jsonl", tmp_path / "weights.json"
    right, wrong = "4 + 5 = 9\nAnswer: 9", "4 + 5 = 8\nAnswer: 8"
    row = {"prompt": "4 + 5 =\n", "samples": [right, wrong, wrong], "correct": [1, 0, 0]}
    samples.write_text(json.dumps(row) + "\n" + "{\n" + (json.dumps(row) + "\n") * 5)
    argv = ["train", "vote-weights", "--input", str(samples), "--scorer", "tiny"]
    assert main([*argv, "--output", str(out)]) == 0
    shown, found = capsys.readouterr().out, json.loads(out.read_text())
    assert f"--vote-weighting '{found['vote_weighting']}'" in shown and "set aside: line 2" in shown
    assert found["problems"] == 6 and found["learnt"]["accuracy"] >= found["vote"]["accuracy"]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "4 + 5 =\n"}) + "\n")
    argv = ["generate", "--input", str(prompts), "--output", str(tmp_path / "answers.jsonl")]
    argv += ["--strategy", "self-consistency", "--n", "2", "--scorer", "tiny"]
    argv += ["--max-new-tokens", "8", "--vote-weighting", found["vote_weighting"]]
    assert main(argv) == 0


def test_too_few_problems_for_the_folds_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    samples = tmp_path / "samples.jsonl"
    row = {"prompt": "4 + 5 =\n", "samples": ["Answer: 9", "Answer: 8"], "correct": [1, 0]}
    samples.write_text((json.dumps(row) + "\n") * 2)
    assert main(["train", "vote-weights", "--input", str(samples), "--scorer", "tiny"]) == 2
    assert "got 2 problems for 5 folds; give more, or fewer folds" in capsys.readouterr().err
