from pathlib import Path

import pytest

from reason_decode.io.jsonl import read_jsonl
from reason_decode.io.read_report import Reject
from reason_decode.tasks import countdown_item
from reason_decode.tasks.game24 import GAME24

ITEM = countdown_item((4, 5, 6, 10))


def test_grades_of_gpt4s_samples_are_the_published_ones(shared_data: Path):
    rows, rejected = read_jsonl(shared_data / "game24" / "gpt4_cot_samples.jsonl.gz")
    assert rejected == []
    grades = [(GAME24.row_to_item(row), row["samples"], row["correct"]) for _, row in rows]
    assert sum(len(samples) for _, samples, _ in grades) == 5000
    for item, samples, correct in grades:
        assert [GAME24.grade(item, text) for text in samples] == [bool(c) for c in correct]


def test_rows_of_the_published_file_are_chosen_by_rank(shared_data: Path):
    items, rejected = GAME24.load(shared_data / "game24" / "24.csv", "901:1001")
    assert [item.id for item in items] == list(range(901, 1001)) and rejected == []
    assert items[0].prompt == "Make 24 from 4 5 6 10.\n"
    assert (items[0].target, items[0].extra) == ("24", {"numbers": (4, 5, 6, 10)})


@pytest.mark.parametrize(
    "text",
    [
        "10 - 4 = 6 (left: 5 6 6)\nAnswer: 5 * (10 - 4) - 6 = 24",
        "answer: (10-4)*5-6\nthat is all",
        "Answer: 1 = 24\nAnswer: (10 - 4) * 5 - 6 = 30 - 6 = 24",
        "Answer: 5 × (10 − 4) − 6 = 25",
    ],
)
def test_grade_accepts_right_solutions(text: str):
    assert GAME24.grade(ITEM, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Answer:",
        "Answer: 24",
        "5 * (10 - 4) - 6 = 24",
        "Answer: 5 * (10 - 4) - 6 = 24\nAnswer: None",
        "Answer: 4 * 6",
        "Answer: 4 + 5 + 6 + 10 = 24",
        "Answer: 4 * 6 * (10 - 5 - 4) = 24",
        "Answer: 5.0 * (10 - 4) - 6 = 24",
        "Answer: 5 * (10 - 4) - 6 / 0",
        "Answer: __import__('os') 4 5 6 10",
        "Answer: " + "(" * 1_000_000,
    ],
)
def test_grade_refuses_wrong_solutions(text: str):
    assert not GAME24.grade(ITEM, text)


def test_countdown_items_may_have_another_target():
    item = countdown_item((4, 5, 6, 10), 25)
    assert item.prompt == "Make 25 from 4 5 6 10.\n"
    assert GAME24.grade(item, "Answer: 4 + 5 + 6 + 10") and not GAME24.grade(ITEM, "4 + 5 + 6 + 10")


def test_malformed_csv_rows_are_rejected_by_line(tmp_path: Path):
    path = tmp_path / "24.csv"
    path.write_text("Rank,Puzzles\n1,1 1 4 6\nx,1 1 4 6\n3\n4,1 2 3\n5,2 2 2 3\n")
    items, rejected = GAME24.load(path, None)
    assert [item.id for item in items] == [1, 5]
    assert [reject.row for reject in rejected] == [3, 4, 5]
    assert rejected[2] == Reject(5, "got the puzzle '1 2 3'; need four whole numbers: '4 5 6 10'")


def test_a_broken_csv_gives_the_rows_before_the_break(tmp_path: Path):
    path = tmp_path / "24.csv"
    path.write_text('Rank,Puzzles\n1,1 1 4 6\n2,"1 1 3 8' + "\n2 2 2 2" * 20_000)
    items, rejected = GAME24.load(path, None)
    assert [item.id for item in items] == [1]
    assert rejected[-1].reason.startswith("the table is broken from here on: field larger")


def test_a_file_without_the_columns_is_refused(tmp_path: Path):
    path = tmp_path / "data"
    path.write_text("Number\n1\n")
    with pytest.raises(ValueError, match=r"no column \['Puzzles', 'Rank'\]; it has \['Number'\]"):
        GAME24.load(path, None)


def test_a_row_of_samples_states_its_puzzle_or_prompt():
    assert GAME24.row_to_item({"prompt": ITEM.prompt}) == ITEM
    row = {"puzzle": "4 5 6 10", "rank": 901}
    assert GAME24.row_to_item(row) == countdown_item((4, 5, 6, 10), id=901)
    with pytest.raises(ValueError, match="neither `puzzle` nor `prompt`"):
        GAME24.row_to_item({"prompt": "Hello"})
