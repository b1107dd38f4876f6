import json

import pytest

from reason_decode.cli import main

LINES = ["3 * 4 = 12 (left: 2 12)", "12 * 2 = 25 (left: 25)"]
ROWS = [
    {"prompt": f"Make {24 + k} from 2 3 4.", "completions": LINES, "labels": [None, None]}
    | {"answer": str(24 + k)}
    for k in range(70)
]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_what_a_scorer_labels_is_read_by_train_and_a_stopped_run_goes_on(tmp_path, capsys):
    data, out = written(tmp_path / "data.jsonl", ROWS), tmp_path / "out.jsonl"
    arguments = ["label", "--data", data, "--prm", "tiny", "--out", str(out)]
    assert main(arguments) == 0
    whole = out.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["completions"] for row in rows] == [LINES] * 70
    # A newline stands between the prompt and the steps, as verify puts it.
    assert rows[0]["prompt"] == "Make 24 from 2 3 4.\n" and rows[0]["labels"] == [True, False]
    assert rows[0]["correct"] is False
    # The story: a run was killed in the middle of a line, behind the first batch.
    out.write_text("".join(whole.splitlines(keepends=True)[:66]) + '{"prompt": "Ma')
    assert main(arguments) == 0 and out.read_text() == whole
    assert "70 labelled" in (said := capsys.readouterr().out) and "64 of them before" in said
    out.write_text('{"prompt": "another"}\n' * 70)
    assert main(arguments) == 2
    assert "holds the labels of other solutions" in capsys.readouterr().err


def test_rollouts_are_labels_too(tmp_path):
    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    arguments = ["label", "--data", data, "--model", "tiny", "--out", str(out)]
    assert main([*arguments, "--rollouts", "2", "--max-new-tokens", "4"]) == 0
    for row in map(json.loads, out.read_text().splitlines()):
        assert len(row["shares"]) == len(row["labels"]) == 2
        assert row["labels"] == [share > 0 for share in row["shares"]]


@pytest.mark.parametrize("given", [[], ["--prm", "tiny", "--model", "tiny"]])
def test_one_of_the_two_ways_must_be_chosen(tmp_path, capsys, given):
    data = written(tmp_path / "data.jsonl", ROWS[:1])
    assert main(["label", "--data", data, "--out", str(tmp_path / "out"), *given]) == 2
    assert "pass one of --prm P and --model M" in capsys.readouterr().err
