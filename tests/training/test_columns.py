"""Rows that people have: columns, conversations, labels of all kinds, every kind of file."""

import csv
import doctest
import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reason_decode.core.messages import Conversation
from reason_decode.io.read_report import ReadReport
from reason_decode.training import LabelledSolution, SolutionColumns, read_labelled
from reason_decode.training.columns import solutions_of_row
from reason_decode.training.grading import is_right


def turns(*texts: str, first: str = "user") -> list[dict[str, str]]:
    roles = {"user": "assistant", "assistant": "user"}
    found, role = [], first
    for text in texts:
        found.append({"role": role, "content": text})
        role = roles[role]
    return found


ASKED = turns("1 + 2?")
SHAREGPT = [{"from": "human", "value": "1 + 2?"}, {"from": "gpt", "value": "It is 3."}]
SIGNED = turns("1 + 2? Step 1: 1 + 2 = 3", "+", "Step 2: So it is 4.", "-")
NONE = (None,)
ROWS: dict[str, tuple[dict[str, Any], list[tuple[Any, ...]]]] = {
    # a row, and the steps, labels, answer and verdict of its solutions
    "GSM8K": (
        {"question": "1 + 2?", "answer": "It is <<1+2=3>>3.\n#### 3"},
        [(("It is 3.", "#### 3"), (None, None), "3", True)],
    ),
    "MATH": (
        {"problem": "1 + 2?", "level": "5", "solution": "It is \\boxed{3}.", "answer": 3},
        [(("It is \\boxed{3}.",), NONE, "3", None)],
    ),
    "an answer alone": ({"question": "1 + 2?", "answer": 3}, [(("3",), NONE, "3", True)]),
    "prompt and completion": (
        {"prompt": ASKED, "completion": turns("It is 3.", first="assistant"), "label": False},
        [(("It is 3.",), NONE, None, False)],
    ),
    "a verdict of a solution": (
        {"prompt": "1 + 2?", "solution": "It is 3.", "label": 1},
        [(("It is 3.",), NONE, None, True)],
    ),
    "a preference pair": (
        {"prompt": "1 + 2?", "chosen": "3", "rejected": "4"},
        [(("3",), NONE, None, True), (("4",), NONE, None, False)],
    ),
    "a pair of conversations": (
        {"chosen": turns("1 + 2?", "3"), "rejected": turns("1 + 2?", "4")},
        [(("3",), NONE, None, True), (("4",), NONE, None, False)],
    ),
    "messages": (
        {"messages": turns("1 + 2?", "It is 3."), "answer": 3, "id": 7},
        [(("It is 3.",), NONE, "3", None)],
    ),
    "ShareGPT": ({"conversations": SHAREGPT}, [(("It is 3.",), NONE, None, None)]),
    "turns of + and -": (
        {"conversations": SIGNED},
        [(("Step 1: 1 + 2 = 3", "Step 2: So it is 4."), (1, -1), None, None)],
    ),
    "labels of steps": (
        {"question": "1 + 2?", "chain_of_thoughts": ["a", "b"], "labels": [1, -1], "answer": "3"},
        [(("a", "b"), (1, -1), "3", None)],
    ),
    "signs": (
        {"question": "1 + 2?", "steps": ["a", "b", "c"], "label": ["+", None, "-"]},
        [(("a", "b", "c"), (1, None, -1), None, None)],
    ),
    "steps as one text": (
        {"problem": "1 + 2?", "solution": "a\nb", "labels": [True, False]},
        [(("a", "b"), (1, -1), None, None)],
    ),
    "generations": (
        {"problem": "1 + 2?", "generations": ["3", "4"], "correct": [True, False], "answer": "3"},
        [(("3",), NONE, "3", True), (("4",), NONE, "3", False)],
    ),
}  # fmt: skip


def plain(found: Any) -> list[tuple[Any, ...]]:
    return [(x.steps, x.labels, x.answer, x.correct) for x in found]


@pytest.mark.parametrize("case", ROWS)
def test_rows_are_read_by_the_names_of_their_columns(tmp_path: Path, case: str):
    """Rows that everyone has were "malformed": question/answer, conversations, integer answers."""
    row, expected = ROWS[case]
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row) + "\n")
    report = ReadReport()
    found = list(read_labelled(path, report=report))
    assert plain(found) == expected and report.format == "columns"
    assert {x.prompt for x in found} == {"1 + 2?"}


def test_a_conversation_of_several_turns_stays_one():
    chat = [{"role": "system", "content": "Be terse."}, *turns("Hi", "Hi", "1 + 2?", "3")]
    (read,) = solutions_of_row({"messages": chat})
    assert isinstance(read, LabelledSolution) and isinstance(read.prompt, Conversation)
    assert (read.prompt, len(read.prompt.messages), read.steps) == ("1 + 2?", 4, ("3",))
    with pytest.raises(ValueError, match="ends with an answer of the assistant"):
        solutions_of_row({"messages": chat[:-1]})


def test_named_columns_are_read_and_missing_ones_said(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"q": "1 + 2?", "cot": ["a", "b"], "mc": [1.0, 0.0], "a": 3}))
    columns = SolutionColumns(question="q", solution="cot", answer="a", labels="mc")
    assert plain(read_labelled(path, columns=columns)) == [(("a", "b"), (1, -1), "3", None)]
    with pytest.raises(ValueError, match=r"no column `x`; it has q, .*\(--question-column\)"):
        list(read_labelled(path, columns=SolutionColumns(question="x")))
    with pytest.raises(ValueError, match="which has names of its own"):
        read_labelled(path, "prm800k", columns=columns)


def test_soft_labels_keep_their_probabilities_and_say_the_threshold(tmp_path: Path):
    path, report = tmp_path / "x.jsonl", ReadReport()
    row = {"prompt": "p", "completions": ["a", "b", "c"], "labels": [1, 0.75, 0.25]}
    path.write_text(json.dumps(row))
    (read,) = read_labelled(path, report=report)
    assert (read.labels, read.soft) == ((1, 1, -1), (1.0, 0.75, 0.25))
    assert str(report).endswith("1 with soft labels, right above 0.5")
    (hard,) = read_labelled(path, label_threshold=0)
    assert hard.labels == (1, 1, 1)
    with pytest.raises(ValueError, match="label_threshold=1; need at least 0 and less than 1"):
        read_labelled(path, label_threshold=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": [1, 0, -1]}, "beside 0, which would mean neutral"),
        ({"labels": [0.5, 2, 1]}, "got the label 2 beside probabilities"),
        ({"labels": ["yes", "no", "no"]}, "got the label 'yes'; allowed are true"),
        ({"labels": [1]}, "got 1 labels for 3 steps"),
        ({"labels": 2}, "got the label 2 of 3 steps; need a list"),
        ({"question": 7}, "got 7 as `question`; need the text"),
        ({"steps": [1, 2, 3]}, "got 1 as a step; need text"),
        ({"answer": {"value": 3}}, "as `answer`; need text, a number or null"),
    ],
)
def test_other_values_are_refused_with_the_reason(change: dict[str, Any], reason: str):
    row = {"question": "q", "steps": ["a", "b", "c"], "labels": [1, 1, 1], "answer": "1"}
    with pytest.raises(ValueError, match=reason):
        solutions_of_row(row | change)


def test_a_csv_table_holds_lists_as_text(tmp_path: Path):
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["problem", "steps", "labels", "answer"])
        table.writerow(["1 + 2?", json.dumps(["a", "b"]), "+ -", "3"])
        table.writerow(["1 + 2?", "['a', 'b']", "[1, 0.2]", "(3)"])
        table.writerow(["1 + 2?", "[3]", "", "3"])
    found = list(read_labelled(path))
    assert [x.steps for x in found] == [("a", "b"), ("a", "b"), ("[3]",)]
    assert [x.labels for x in found] == [(1, -1), (1, -1), (None,)]
    assert is_right(found[2]) is not None


def test_parquet_and_datasets_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"id": 1, "problem": "1 + 2?", "steps": ["a", "b"], "labels": [1.0, 0.25], "answer": 3}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    (read,) = read_labelled(tmp_path / "x.parquet")
    assert (read.steps, read.labels, read.soft) == (("a", "b"), (1, -1), (1.0, 0.25))
    asked: list[Any] = []

    def load_dataset(name: str, subset: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((name, subset, split))
        return rows

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert len(list(read_labelled("owner/prm", columns=SolutionColumns(subset="main")))) == 1
    assert asked == [("owner/prm", "main", "train")]


@pytest.mark.parametrize("name", ["cells", "columns", "conversations", "step_labels"])
def test_the_examples_run(name: str):
    assert not doctest.testmod(import_module(f"reason_decode.training.{name}")).failed
