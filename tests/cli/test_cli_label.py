import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.io.journal import Journal
from reason_decode.tiny import Tiny
from tests.completion_server import completions

LINES = ["3 * 4 = 12 (left: 2 12)", "12 * 2 = 25 (left: 25)"]
ROWS = [
    {"prompt": f"Make {24 + k} from 2 3 4.", "completions": LINES, "labels": [None, None]}
    | {"answer": str(24 + k)}
    for k in range(70)
]


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_scorer(data: str, output: Path, *more: str) -> list[str]:
    return ["label", "--input", data, "--scorer", "tiny", "--output", str(output), *more]


def test_labels_of_a_scorer_are_read_by_train_and_a_killed_run_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data, out = written(tmp_path / "data.jsonl", ROWS), tmp_path / "out.jsonl"
    arguments = by_scorer(data, out)
    assert main(arguments) == 0
    whole, rows = out.read_text(), read(out)
    assert [row["id"] for row in rows] == list(range(70))
    assert [row["completions"] for row in rows] == [LINES] * 70
    # A newline separates the prompt from the steps, as in verify.
    assert rows[0]["prompt"] == "Make 24 from 2 3 4.\n" and rows[0]["labels"] == [True, False]
    assert rows[0]["correct"] is False
    # The story: a run was killed in the middle of a line, behind the first batch.
    out.write_text("".join(whole.splitlines(keepends=True)[:66]) + '{"id": 66, "prompt": "Ma')
    assert main(arguments) == 0 and out.read_text() == whole
    assert "70 labelled" in (said := capsys.readouterr().out) and "66 of them before" in said
    out.write_text('{"prompt": "another"}\n' * 70)
    assert main(arguments) == 2
    assert "line 1 is no result of this command" in capsys.readouterr().err
    assert out.read_text() == '{"prompt": "another"}\n' * 70


def test_rollouts_are_labels_too(tmp_path: Path):
    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    arguments = ["label", "--input", data, "--model", "tiny", "--output", str(out)]
    assert main([*arguments, "--rollouts", "2", "--max-new-tokens", "4"]) == 0
    for row in read(out):
        assert len(row["shares"]) == len(row["labels"]) == 2
        assert row["labels"] == [share > 0 for share in row["shares"]]


def test_solutions_whose_answers_are_all_wrong_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    # The story: answers in a form that nothing equals made every label wrong, with status 0.
    row = {"prompt": "Make 24 from 2 3 4.", "solution": "So the answer is 24.", "answer": "it is x"}
    data, out = written(tmp_path / "data.jsonl", [row]), tmp_path / "out.jsonl"
    arguments = ["label", "--input", data, "--model", "tiny", "--output", str(out)]
    assert main([*arguments, "--rollouts", "1", "--max-new-tokens", "2"]) == 0
    assert "data.jsonl:1: none of 1 is graded right" in caplog.text
    assert "states the answer '24', the reference is 'it is x'" in caplog.text


@pytest.mark.parametrize("given", [[], ["--scorer", "tiny", "--model", "tiny"]])
def test_exactly_one_of_scorer_and_model_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str]
):
    data = written(tmp_path / "data.jsonl", ROWS[:1])
    assert main(["label", "--input", data, "--output", str(tmp_path / "out"), *given]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_labels_of_two_thresholds_never_share_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # The story: `label --threshold 0.1` of 64 solutions, then `label --threshold 0.99` of the same
    # and two more, wrote one file with labels of both thresholds and ended with status 0.
    first = written(tmp_path / "a.jsonl", ROWS[:64])
    second = written(tmp_path / "b.jsonl", ROWS[:66])
    out = tmp_path / "out.jsonl"
    assert main(by_scorer(first, out, "--threshold", "0.1")) == 0
    before = out.read_text()
    assert main(by_scorer(first, out, "--threshold", "0.99")) == 2
    said = capsys.readouterr().err
    assert "threshold: 0.1, now 0.99" in said and "--restart" in said
    assert main(by_scorer(second, out, "--threshold", "0.1")) == 2
    assert "items: " in capsys.readouterr().err and out.read_text() == before
    assert main(by_scorer(second, out, "--threshold", "0.99", "--restart")) == 0
    assert len(read(out)) == 66


@pytest.mark.parametrize(
    "foreign",
    [
        "my notes\nno json\n",
        "my notes",
        "".join(json.dumps({"prompt": f"q{k}", "answer": "x"}) + "\n" for k in range(10)),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], foreign: str
):
    # The story: `label` cut an existing file to a multiple of 64 rows before it compared them, so
    # that notes, and any data set of fewer than 64 rows, were emptied.
    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "other"
    out.write_text(foreign)
    assert main(by_scorer(data, out)) == 2
    assert "other is there already" in capsys.readouterr().err
    assert main(by_scorer(data, out, "--restart")) == 2
    assert "is no result of this command" in capsys.readouterr().err
    assert out.read_text() == foreign


@pytest.mark.parametrize("link", [False, True])
def test_the_input_is_never_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], link: bool
):
    data, out = Path(written(tmp_path / "data.jsonl", ROWS[:2])), tmp_path / "link.jsonl"
    if link:
        out.symlink_to(data)
    before = data.read_text()
    assert main(by_scorer(str(data), out if link else data, "--restart")) == 2
    assert "which is also an input" in capsys.readouterr().err
    assert data.read_text() == before


def test_a_second_process_on_the_same_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # The story: two `label` commands wrote one file at once; the first one's rows were lost.
    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    assert main(by_scorer(data, out)) == 0
    whole = out.read_text()
    with Journal(out, lambda row: [row["id"]]):
        assert main(by_scorer(data, out)) == 2
        assert "another process is writing" in capsys.readouterr().err
        assert main(by_scorer(data, out, "--restart")) == 2
    assert out.read_text() == whole


def test_solutions_without_steps_are_left_out_and_the_others_keep_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # The story: rollouts dropped a solution without steps, and every later row of the file was the
    # label of the solution after it when the run resumed.
    rows = [*ROWS[:1], {"prompt": "p", "completions": [], "labels": [], "answer": "1"}, *ROWS[1:3]]
    data, out = written(tmp_path / "data.jsonl", rows), tmp_path / "out.jsonl"
    arguments = ["label", "--input", data, "--model", "tiny", "--output", str(out)]
    assert main([*arguments, "--rollouts", "1", "--max-new-tokens", "2"]) == 0
    said = capsys.readouterr().out
    ids = [row["id"] for row in read(out)]
    assert len(ids) == 3 and [row["answer"] for row in read(out)] == ["24", "25", "26"]
    assert ids == [0, 1, 2] or (ids == [0, 2, 3] and "1 solutions without steps" in said)


@pytest.mark.parametrize("verdict", [True, False])
def test_a_task_grades_the_rollouts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: bool
):
    task = tmp_path / "own.py"
    task.write_text(
        "from reason_decode.tasks import question_task\n"
        f"TASK = question_task('own', grade=lambda item, text: {verdict})\n"
    )
    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    given = ["label", "--input", data, "--output", str(out), "--task", f"{task}:TASK"]
    assert main([*given, "--model", "tiny", "--rollouts", "1", "--max-new-tokens", "2"]) == 0
    assert {label for row in read(out) for label in row["labels"]} == {verdict}
    assert main([*given, "--scorer", "tiny"]) == 2
    assert "a task grades rollouts (--model)" in capsys.readouterr().err


def test_a_server_samples_the_rollouts(tmp_path: Path, tiny: Tiny):
    """Each request goes on from the prompt and the steps so far; what it answers is graded."""
    tokenizer: Any = tiny.tokenizer
    answer = tokenizer("\nAnswer: 2 * 12 = 24\n")["input_ids"]

    def go_on(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        return [*answer, tokenizer.eos_token_id]

    data, out = written(tmp_path / "data.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    with completions(go_on, tokenizer) as server:
        arguments = ["label", "--input", data, "--model", "tiny", "--output", str(out)]
        arguments += ["--engine", server.url, "--rollouts", "3", "--max-new-tokens", "32"]
        assert main(arguments) == 0
    # One step of each solution is continued; 24 is the first one's answer, 25 the second's.
    assert [row["shares"][0] for row in read(out)] == [1.0, 0.0]
    texts = sorted(tokenizer.decode(body["prompt"]) for body in server.bodies)
    assert texts == [f"<bos>Make {x} from 2 3 4.\n{LINES[0]}\n" for x in (24, 25)]
    assert {body["n"] for body in server.bodies} == {3}


def test_an_engine_beside_a_scorer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = written(tmp_path / "data.jsonl", ROWS[:1])
    assert main(by_scorer(data, tmp_path / "out.jsonl", "--engine", "http://localhost/v1")) == 2
    assert "an engine samples rollouts (--model), and a scorer runs here" in capsys.readouterr().err
