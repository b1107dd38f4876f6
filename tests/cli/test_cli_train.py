import json

import pytest

from reason_decode import OutcomeRewardModel, ProcessRewardModel, RationaleScorer
from reason_decode.cli import main

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own

ROWS = [
    {"prompt": f"{a} + 1 =", "completions": [f"{a} + 1 = {a + 1 + a % 2}"], "labels": [a % 2 == 0]}
    for a in range(12)
]
GRADED = [
    {"prompt": f"{a} + 1 =", "solution": f"{a} + 1 = {a + 1 + a % 2}", "answer": str(a + 1)}
    for a in range(12)
]


@pytest.mark.parametrize(
    ("kind", "rows", "scorer"),
    [("prm", ROWS, ProcessRewardModel), ("orm", GRADED, OutcomeRewardModel)],
)
def test_trains_a_reward_model_that_scores(tmp_path, capsys, kind, rows, scorer):
    data, out, told = tmp_path / "data.jsonl", tmp_path / "out", tmp_path / "told.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    arguments = ["train", kind, "--input", str(data), "--output", str(out), "--report", str(told)]
    assert (
        main([*arguments, "--num-train-epochs", "2", "--batch-size", "4", "--hold-out", "0.3"]) == 0
    )
    (counts,) = json.loads(told.read_text())["rows"]
    assert 0 < counts["examples"] < 12 and counts["held_out_loss"] > 0
    printed = capsys.readouterr().out
    assert "malformed: 1 (row 13" in printed and f"saved in {out}" in printed
    (score,) = scorer.from_pretrained(out).score(["1 + 1 ="], ["1 + 1 = 2"])
    assert 0 <= float(score[0]) <= 1
    assert (out / "log.jsonl").exists()


def test_trains_in_rounds_of_active_learning(tmp_path, capsys):
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    rows = [
        {"input": f"{a} + 1 =", "steps": [f"{a} + 1 = {b}"], "answer": str(b), "target": "1"}
        | {"mistake_index": None if b == a + 1 else 0}
        for a in range(3)
        for b in range(1, 4)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["train", "active", "--input", str(data), "--output", str(out), "--hold-out", "0"]
    assert main([*arguments, "--rounds", "1", "--per-problem", "1"]) == 0
    assert "saved in" in capsys.readouterr().out
    assert ProcessRewardModel.from_pretrained(out / "round-1")
    # From then on that model chooses, from the first round.
    again = [*arguments[:5], str(tmp_path / "again"), *arguments[6:], "--rounds", "0"]
    assert main([*again, "--per-problem", "2", "--selector", str(out / "round-1")]) == 0
    (row,) = (tmp_path / "again" / "rounds.jsonl").read_text().splitlines()
    assert json.loads(row)["solutions"] == 6


def test_rejects_missing_files_and_invalid_numbers(tmp_path, capsys):
    arguments = ["train", "prm", "--output", str(tmp_path), "--input", str(tmp_path / "no.jsonl")]
    assert main(arguments) == 2
    assert "no.jsonl" in capsys.readouterr().err
    assert main([*arguments, "--num-train-epochs", "0"]) == 2
    assert "got num_train_epochs=0.0; it must be positive" in capsys.readouterr().err


def test_trains_a_rationale_model(tmp_path, capsys):
    data, out, told = tmp_path / "data.jsonl", tmp_path / "out", tmp_path / "told.json"
    rows = [
        {"id": str(k // 2), "source": "s", "preceding": f"{k} + 1 =\n", "rationale": "Add."}
        | {"following": f"{k} + 1 = {k + 1}\n", "delta": 1.0}
        for k in range(8)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    arguments = ["train", "rationalyst", "--input", str(data), "--output", str(out)]
    arguments += [
        "--report",
        str(told),
        "--hold-out",
        "0.4",
        "--batch-size",
        "4",
        "--loss-on",
        "both",
    ]
    assert main(arguments) == 0
    (counts,) = json.loads(told.read_text())["rows"]
    assert 0 < counts["examples"] < 20 and counts["cut"] == 0 and counts["held_out_loss"] > 0
    printed = capsys.readouterr().out
    assert "rationales of 4 documents; 9 rows: 8 items; malformed: 1 (row 9" in printed
    scorer = RationaleScorer.from_pretrained(out, max_new_tokens=8)
    (score,) = scorer.score(["1 + 1 =\n"], ["1 + 1 = 2"])
    assert float(score[0]) <= 0
    assert main([*arguments, "--no-merge-lora"]) == 2
    assert "merge_lora=False without LoRA" in capsys.readouterr().err
