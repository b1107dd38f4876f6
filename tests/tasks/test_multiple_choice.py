from pathlib import Path
from typing import Any

import pytest

from reason_decode.tasks import TaskOptions, find_task

TASK = find_task(TaskOptions(task="multiple-choice"))
OPTIONS = ["an egg", "a stone", "rain"]
ROWS: dict[str, dict[str, Any]] = {
    "MMLU": {"question": "Which?", "choices": OPTIONS, "answer": 1},
    "MMLU-Pro": {"question": "Which?", "options": OPTIONS, "answer": "B", "answer_index": 1},
    "ARC": {
        "question": "Which?",
        "choices": {"text": OPTIONS, "label": ["1", "2", "3"]},
        "answerKey": "2",
    },
    "AQuA": {"question": "Which?", "options": ["A)an egg", "B)a stone", "C)rain"], "correct": "B"},
    "by its text": {"question": "Which?", "choices": OPTIONS, "answer": "a stone"},
}


@pytest.mark.parametrize("form", ROWS)
def test_published_forms_are_read_alike(form: str):
    item = TASK.row_to_item(ROWS[form])
    assert item.question == "Which?\n\nA. an egg\nB. a stone\nC. rain"
    assert (item.target, item.extra["option"]) == ("B", "a stone")


def test_gpqa_hides_the_right_option_among_the_wrong_ones():
    wrong = {f"Incorrect Answer {k}": f"no {k}" for k in (1, 2, 3)}
    places = set()
    for k in range(12):
        row = {"Question": f"{k}?", "Correct Answer": f"yes {k}", **wrong}
        item = TASK.row_to_item(row)
        assert TASK.row_to_item(row) == item and f"{item.target}. yes {k}" in item.question
        places.add(item.target)
    assert len(places) > 1


def test_bbh_files_hold_their_options_in_the_question(shared_data: Path):
    items, rejected = TASK.load(shared_data / "bbh" / "logical_deduction_three_objects.json", None)
    assert len(items) > 100 and rejected == []
    assert {item.target for item in items} == {"A", "B", "C"}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("So \\boxed{B}.", True),
        ("The answer is (B).", True),
        ("The correct answer is B. a stone", True),
        ("\\boxed{\\text{a stone}}", True),
        ("(B)", True),
        ("B.", True),
        ("<think>A</think>B", True),
        ("\\boxed{A}", False),
        ("the answer is an egg", False),
        ("B or C", False),
        ("", False),
    ],
)
def test_grades_letters_and_the_texts_of_options(text: str, right: bool):
    assert TASK.grade(TASK.row_to_item(ROWS["MMLU"]), text) is right


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ROWS["MMLU"], "answer": 3}, "got 3 as `answer`; need the letter"),
        ({**ROWS["MMLU"], "answer": "D"}, "got 'D' as `answer`"),
        ({**ROWS["MMLU"], "choices": ["one"]}, "got 1 options"),
        ({**ROWS["MMLU"], "choices": "abc"}, "got 'abc' as the options"),
        ({"question": "Which?", "answer": "maybe"}, "without options; need a letter"),
        ({"question": 3, "answer": "A"}, "need the text of a question"),
    ],
)
def test_malformed_rows_are_refused(row: Any, reason: str):
    with pytest.raises(ValueError, match=reason):
        TASK.row_to_item(row)
