import json

import pytest

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers' and torch's own
]

SMALL = ["--tests", "2", "--pool", "4", "--problems", "3", "--samples", "4", "--seeds", "1"]
SHORT = ["--epochs", "0.2", "--min-steps", "1", "--device", "cpu"]


def test_supervision_trains_every_student_once(tmp_path, capsys, benchmark):
    run = benchmark("papers.supervision")
    plot = tmp_path / "teachers.svg"
    arguments = ["teachers", "--output", str(tmp_path), *SMALL, *SHORT, "--sizes", "6"]
    assert run.main([*arguments, "--plot", str(plot)]) == 0
    rows = json.loads((tmp_path / "teachers.json").read_text())
    assert {row["way"] for row in rows} == {*run.TEACHERS, "PRM_large itself"}
    assert all(0 <= x <= 1 for row in rows for problem in row["accuracy"] for x in problem)
    assert b"PRM from PRM_large" in plot.read_bytes()
    folder = tmp_path / "PRM-from-PRM_large-6-0" / "model.safetensors"
    trained = folder.stat().st_mtime_ns
    first = capsys.readouterr().out
    assert run.main(arguments) == 0
    assert folder.stat().st_mtime_ns == trained
    # The first run also printed the log of transformers' Trainer.
    assert first.endswith(capsys.readouterr().out)


def test_active_and_random_choice_share_their_first_round(tmp_path, capsys, benchmark):
    run = benchmark("papers.supervision")
    arguments = ["active", "--output", str(tmp_path), *SMALL, *SHORT, "--uniform", "1"]
    assert run.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "actively, 80% wrong" in printed and "best of 4" in printed
    rows = json.loads((tmp_path / "active.json").read_text())
    assert [(row["way"], row["size"]) for row in rows] == [
        ("at random", 1),
        ("at random", 2),
        ("actively, 80% wrong", 2),
    ]
    logs = [path.read_text().splitlines() for path in tmp_path.glob("*/rounds.jsonl")]
    assert len(logs) == 2 and logs[0][0] == logs[1][0]


def test_a_selector_chooses_the_first_solutions(tmp_path, benchmark):
    run = benchmark("papers.supervision")
    how = ["--selector", "1", "--rounds", "0", "--active", "2", "--uniform", "1"]
    assert run.main(["active", "--output", str(tmp_path), *SMALL, *SHORT, *how]) == 0
    rows = json.loads((tmp_path / "active.json").read_text())
    assert [(row["way"], row["size"]) for row in rows] == [
        ("answers alone", 0),
        ("at random", 1),
        ("at random", 2),
        ("actively, 80% wrong", 2),
    ]


def test_dead_ends_are_labelled_as_neutral_says(benchmark):
    label = benchmark("papers.supervision_pools").label_solution
    dead_end = "Make 36 from 4 5 6 10.\n", "10 / 4 = 5/2 (left: 5/2 5 6)\n6 - 5 = 2 (left: 2 5/2)"
    assert label(*dead_end, neutral="positive").labels == (1, -1)
    assert label(*dead_end, neutral="negative").labels == (-1, None)


def test_has_right_answer_reads_the_last_step_only(benchmark):
    answers = benchmark("papers.supervision_pools").has_right_answer
    assert answers("((1 + 2) * (3 - 4)) =\n", ("A is 7.", "So the answer is -3."))
    assert not answers("((1 + 2) * (3 - 4)) =\n", ("So the answer is 3.",))
    assert answers("Make 36 from 4 5 6 10.\n", ("Answer: (10 - 4) * 6 - 5 + 5 = 36",)) is False
    assert answers("Make 19 from 4 5 10.\n", ("what", "Answer: 4 + 5 + 10 = 19"))
    assert not answers("Make 19 from 4 5 10.\n", ())
