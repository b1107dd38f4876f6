import json
from pathlib import Path

import pytest

from reason_decode.io.jsonl import Reject, read_jsonl
from reason_decode.tasks.builtin import TASKS, arithmetic_item, countdown_item

GAME24, BBH = TASKS["game24"], TASKS["bbh-arithmetic"]
ITEM = countdown_item((4, 5, 6, 10))


def test_game24_agrees_with_the_published_grades_of_gpt4s_samples(shared_data: Path):
    rows, rejected = read_jsonl(shared_data / "game24" / "gpt4_cot_samples.jsonl.gz")
    assert rejected == []
    grades = [(GAME24.item(row), row["samples"], row["correct"]) for _, row in rows]
    assert sum(len(samples) for _, samples, _ in grades) == 5000
    for item, samples, correct in grades:
        assert [GAME24.grade(item, text) for text in samples] == [bool(c) for c in correct]


def test_game24_rows_are_ranks(shared_data: Path):
    items, rejected = GAME24.load(shared_data / "game24" / "24.csv", "901:1001")
    assert [item.id for item in items] == list(range(901, 1001)) and rejected == []
    assert items[0].prompt == "Make 24 from 4 5 6 10.\n"
    assert (items[0].target, items[0].extra) == ("24", {"numbers": (4, 5, 6, 10)})


def test_bbh_targets_are_what_the_prompts_come_to(shared_data: Path):
    items, rejected = BBH.load(shared_data / "bbh" / "multistep_arithmetic_two.json", None)
    assert len(items) == 167 and rejected == []
    assert items[0].prompt == "((-9 * -5 - 6 + -2) - (-8 - -6 * -3 * 1)) =\n"
    for item in items:
        assert BBH.grade(item, f"#### {item.target}")
        assert arithmetic_item(item.prompt).target == item.target


@pytest.mark.parametrize(
    "text",
    [
        "10 - 4 = 6 (left: 5 6 6)\nAnswer: 5 * (10 - 4) - 6 = 24",
        "answer: (10-4)*5-6\nthat is all",
        "Answer: 1 = 24\nAnswer: (10 - 4) * 5 - 6 = 30 - 6 = 24",
        "Answer: 5 × (10 − 4) − 6 = 25",
    ],
)
def test_game24_right(text: str):
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
def test_game24_wrong(text: str):
    assert not GAME24.grade(ITEM, text)


def test_countdown_items_may_have_another_target():
    item = countdown_item((4, 5, 6, 10), 25)
    assert item.prompt == "Make 25 from 4 5 6 10.\n"
    assert GAME24.grade(item, "Answer: 4 + 5 + 6 + 10") and not GAME24.grade(ITEM, "4 + 5 + 6 + 10")


def test_bbh_reads_the_stated_answer():
    item = arithmetic_item("(-1 + 2) * 1000 =")
    assert (item.prompt, item.target) == ("(-1 + 2) * 1000 =\n", "1000")
    assert BBH.grade(item, "So the answer is 1,000.")
    assert BBH.grade(item, r"\boxed{\frac{2000}{2}}")
    assert not BBH.grade(item, "So the answer is 100.") and not BBH.grade(item, "1000")
    assert not BBH.grade(item, r"\boxed{\sqrt{1000000}}")


def test_malformed_rows_are_set_aside_by_line(tmp_path: Path):
    path = tmp_path / "24.csv"
    path.write_text("Rank,Puzzles\n1,1 1 4 6\nx,1 1 4 6\n3\n4,1 2 3\n5,2 2 2 3\n")
    items, rejected = GAME24.load(path, None)
    assert [item.id for item in items] == [1, 5]
    assert [reject.row for reject in rejected] == [3, 4, 5]
    assert rejected[2] == Reject(5, "got the puzzle '1 2 3'; need four whole numbers: '4 5 6 10'")


def test_malformed_examples_are_set_aside_by_place(tmp_path: Path):
    path = tmp_path / "bbh.json"
    good = {"input": "1 + 1 =", "target": "2"}
    bad = [3, {"input": "a ="}, {"input": "1 =", "target": 1}]
    path.write_text(json.dumps({"examples": [*bad, good]}))
    items, rejected = BBH.load(path, None)
    assert [item.id for item in items] == [3] and [reject.row for reject in rejected] == [1, 2, 3]
    with pytest.raises(ValueError, match="no usable row in 0:3"):
        BBH.load(path, "0:3")


@pytest.mark.parametrize("rows", ["901", "5:5", "9:3", "-1:4", "a:b", "1:2:3", ""])
def test_rows_that_select_nothing_are_refused(tmp_path: Path, rows: str):
    with pytest.raises(ValueError, match="FIRST:LAST with FIRST < LAST"):
        GAME24.load(tmp_path / "missing.csv", rows)


def test_files_of_another_kind_are_named(tmp_path: Path):
    path = tmp_path / "data"
    path.write_text("Number\n1\n")
    with pytest.raises(ValueError, match=r"no column \['Puzzles', 'Rank'\]; it has \['Number'\]"):
        GAME24.load(path, None)
    with pytest.raises(ValueError, match="data is no JSON"):
        BBH.load(path, None)
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds no"):
        BBH.load(path, None)


def test_a_sampled_row_tells_its_problem():
    assert GAME24.item({"prompt": ITEM.prompt}) == ITEM
    assert GAME24.item({"puzzle": "4 5 6 10", "rank": 901}) == countdown_item((4, 5, 6, 10), id=901)
    assert BBH.item({"prompt": "1 + 1 =\n"}) == arithmetic_item("1 + 1")
    with pytest.raises(ValueError, match="neither `puzzle` nor `prompt`"):
        GAME24.item({"prompt": "Hello"})


def test_a_table_that_breaks_gives_the_rows_before_it(tmp_path: Path):
    path = tmp_path / "24.csv"
    path.write_text('Rank,Puzzles\n1,1 1 4 6\n2,"1 1 3 8' + "\n2 2 2 2" * 20_000)
    items, rejected = TASKS["game24"].load(path, None)
    assert [item.id for item in items] == [1]
    assert rejected[-1].reason.startswith("the table is broken from here on: field larger")
