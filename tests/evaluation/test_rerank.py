import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.evaluation.rerank import SampledProblem, read_samples, rerank
from reason_decode.io.read_report import Reject
from reason_decode.tasks import TASKS
from reason_decode.tasks.game24 import normalize_solution
from tests.fakes import TableScorer

GAME24 = TASKS["game24"]
RIGHT = "Steps:\n10 - 4 = 6 (left: 5 6 6)\n\nAnswer: 5 * (10 - 4) - 6 = 24"
WRONG = "4 + 5 = 9 (left: 6 9 10)\nAnswer: 4 + 5 + 6 + 10 = 25"


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_normalize_solution_changes_only_space_around_lines():
    assert normalize_solution("\n STEPS: \n a  b \r\n\n c\t\n") == "a  b\nc"
    assert normalize_solution("a\nSteps:\nb") == "a\nSteps:\nb"
    assert normalize_solution(" \n") == ""


def test_a_puzzle_is_graded_by_the_task_or_by_the_file(tmp_path: Path):
    row = {"rank": 901, "puzzle": "4 5 6 10", "samples": [RIGHT, WRONG]}
    path = written(tmp_path / "s.jsonl", row, {**row, "correct": [0, 1]})
    (by_task, by_file), rejected = read_samples(path, GAME24)
    assert by_task.prompt == "Make 24 from 4 5 6 10.\n" and (by_task.id, by_task.row) == (901, 1)
    assert by_task.texts[0] == normalize_solution(RIGHT)
    assert (by_task.correct, by_file.correct) == ((True, False), (False, True)) and rejected == []


def test_a_prompt_is_read_verbatim(tmp_path: Path):
    rows = [
        {"prompt": "Q: anything\nA:", "samples": ["x"], "correct": [True]},
        {"prompt": "1 + 1 =\n", "samples": ["So the answer is 2.", "Steps"]},
    ]
    (first, second), _ = read_samples(written(tmp_path / "s", *rows), TASKS["bbh-arithmetic"])
    assert (first.prompt, first.id) == ("Q: anything\nA:", 1)
    assert (second.prompt, second.correct) == ("1 + 1 =\n", (True, False))


def test_malformed_rows_are_rejected_with_reasons(tmp_path: Path):
    good = {"puzzle": "4 5 6 10", "samples": [RIGHT]}
    bad = [
        {"puzzle": "4 5 6", "samples": [RIGHT]},
        {**good, "samples": []},
        {**good, "samples": [RIGHT, 7]},
        {**good, "correct": [1, 0]},
        {**good, "correct": 3},
        {**good, "correct": ["yes"]},
        {"prompt": "", "samples": ["x"], "correct": [1]},
        {"prompt": "no problem", "samples": ["x"]},
        {"samples": ["x"]},
        ["x"],
    ]
    problems, rejected = read_samples(written(tmp_path / "s", *bad, good), GAME24)
    assert [problem.row for problem in problems] == [11]
    assert [reject.row for reject in rejected] == list(range(1, 11))
    assert rejected[9] == Reject(10, "got a JSON list; need an object")
    with pytest.raises(ValueError, match=r"no problem with samples \(1 malformed; line 1: "):
        read_samples(written(tmp_path / "s", bad[0]), GAME24)


def test_samples_are_graded_by_the_answer_of_their_row(tmp_path: Path):
    row = {"prompt": "p", "samples": ["So \\boxed{1/2}.", "The answer is 2."]}
    rows = [{**row, "answer": answer} for answer in ("0.5", "It is \\boxed{50\\%}.", "#### 2")]
    problems, rejected = read_samples(written(tmp_path / "s", *rows, {**row, "answer": None}))
    assert [x.correct for x in problems] == [(True, False), (True, False), (False, True)]
    assert [x.answer for x in problems] == ["0.5", "50\\%", "2"]
    assert "give `correct` (a list of truth values) or `answer`" in rejected[0].reason
    with pytest.raises(ValueError, match="`puzzle` is in the form of a task: name it by --task"):
        read_samples(written(tmp_path / "p", {"puzzle": "4 5 6 10", "samples": [RIGHT]}))


def test_a_file_without_any_right_sample_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    row = {"prompt": "p", "samples": ["The answer is 7.", "no answer"], "answer": "seven"}
    read_samples(written(tmp_path / "s", row))
    assert "none of 2 is graded right" in caplog.text
    assert "states the answer '7', the reference is 'seven'" in caplog.text
    caplog.clear()
    read_samples(written(tmp_path / "s", row, {**row, "answer": "7"}))
    # A file that says itself what is right was not compared.
    read_samples(written(tmp_path / "s", {**row, "correct": [False, False]}))
    assert caplog.text == ""


def problem(*texts: str, correct: tuple[bool, ...], row: int = 1) -> SampledProblem:
    return SampledProblem(row, row, "p", texts, correct)


def by_mark(step: str) -> float:
    return float(step.split()[-1])


def test_best_of_n_and_the_vote_use_products_of_step_scores():
    first = problem(
        "mark 0.9\nanswer: 1",
        "mark 0.8\nanswer: 2",
        "mark 0.8\nanswer: 2",
        correct=(False, True, True),
    )
    second = problem("mark 0.5\nmark 0.5", "mark 0.5", correct=(False, False), row=2)
    scorer = TableScorer(lambda step: by_mark(step) if step.startswith("mark") else 1.0)
    result = rerank([first, second], scorer)
    assert result["rows"][0]["best_of_n"] == {
        "index": 0,
        "score": pytest.approx(0.9),
        "right": False,
    }
    assert result["rows"][0]["weighted_vote"]["index"] == 1
    assert result["rows"][1]["best_of_n"]["index"] == 1
    assert (result["problems"], result["samples"]) == (2, 5)
    assert result["problems_with_a_right_sample"] == 1
    assert result["single_sample"] == pytest.approx(1 / 3)
    assert result["best_of_n"] == {"right": 0, "of_solvable": 0.0, "accuracy": 0.0}
    assert result["weighted_vote"] == {"right": 1, "of_solvable": 1.0, "accuracy": 0.5}


def test_votes_and_answers_are_counted_without_scores():
    """A scorer that adds nothing was seen only beside a sample at random."""
    texts = ("The answer is 1.", "The answer is 2.", "mark", "The answer is 2.")
    right = problem(*texts, correct=(True, False, False, False))
    wrong = problem("no", correct=(False,), row=2)
    result = rerank([right, wrong], TableScorer(lambda step: 0.9 if "1" in step else 0.1))
    assert result["single_sample"] == pytest.approx(1 / 8)
    assert result["answered_sample"] == pytest.approx(1 / 6)
    first = result["rows"][0]
    assert first["vote"]["index"] == 1 and first["agreement"] == pytest.approx(2 / 3)
    assert first["weighted_vote"]["index"] == first["best_of_n"]["index"] == 0
    assert (result["vote"]["right"], result["weighted_vote"]["right"]) == (0, 1)


def test_other_reductions_give_other_totals():
    two = problem("mark 0.9\nmark 0.2", "mark 0.4\nmark 0.4", correct=(True, False))
    picks = {
        how: rerank([two], TableScorer(by_mark), reduce=how)["rows"][0]["best_of_n"]["index"]
        for how in ("prod", "min", "last", "mean")
    }
    assert picks == {"prod": 0, "min": 1, "last": 1, "mean": 0}


def test_equal_texts_are_scored_once_and_empty_ones_never():
    scorer = TableScorer(by_mark)
    result = rerank(
        [problem("a 0.5", "", "a 0.5", "b 0.5", correct=(True, True, True, True))], scorer
    )
    assert scorer.asked == [("p", ["a 0.5"]), ("p", ["b 0.5"])]
    assert result["rows"][0]["best_of_n"]["index"] == 0
    nothing = rerank([problem("", "", correct=(False, False))], scorer)
    assert nothing["rows"][0]["best_of_n"] == {"index": 0, "score": 0.0, "right": False}
    assert nothing["best_of_n"]["of_solvable"] is None


@pytest.mark.parametrize("mark", ["nan", "inf"])
def test_a_score_that_is_not_finite_is_named(mark: str):
    with pytest.raises(ValueError, match="line 7, .*: got score .* for step 0 of candidate 1"):
        rerank([problem("a 0.5", f"b {mark}", correct=(True, True), row=7)], TableScorer(by_mark))


@pytest.mark.slow
def test_reads_all_samples_of_gpt4(shared_data: Path):
    problems, rejected = read_samples(shared_data / "game24" / "gpt4_cot_samples.jsonl.gz", GAME24)
    assert (len(problems), rejected) == (50, [])
    perfect = TableScorer(lambda step: 1.0 if step.startswith("Answer:") else 0.5)
    result = rerank(problems, perfect, reduce="last")
    assert (result["samples"], result["problems_with_a_right_sample"]) == (5000, 24)


def test_thoughts_are_not_graded_and_may_be_kept_from_the_scorer(tmp_path: Path):
    """Drafts of thoughts in tags of one's own were graded, and the scorer always read them."""
    samples = ["<mull>The answer is 7.</mull>\nThe answer is 5.", "<mull>The answer is 5."]
    row = {"prompt": "2+3?", "samples": samples, "answer": "5"}
    tags = ("<mull>", "</mull>")
    problems, _ = read_samples(written(tmp_path / "s", row), thinking_tags=tags)
    assert problems[0].correct == (True, False)
    part: Any
    for part, seen in (("answer", "The answer is 5."), ("thought", "The answer is 7.")):
        steps: list[str] = []
        scorer = TableScorer(lambda step, steps=steps: steps.append(step) or 0.5)
        result = rerank(problems, scorer, thinking_tags=tags, score_part=part)
        assert seen in steps and not any("mull" in step for step in steps)
        assert result["weighted_vote"]["right"] == 1
