import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reason_decode.tasks import Columns, TaskOptions, find_examples, find_task, question_task
from reason_decode.tasks.prompts import chat_prompt, text_prompt

GSM8K = {"question": "How many are 1 and 2?", "answer": "1 + 2 = <<1+2=3>>3\nSo 3.\n#### 3"}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_gsm8k_reads_the_published_file(shared_data: Path):
    task = find_task(TaskOptions(task="gsm8k"))
    items, rejected = task.load(shared_data / "gsm8k" / "test.jsonl", "0:200")
    assert (len(items), rejected) == (200, [])
    assert (items[0].id, items[0].target, items[2].target) == (0, "18", "70000")
    assert items[0].question.startswith("Janet") and items[0].prompt.endswith("\nAnswer:")
    for item in items:
        assert task.grade(item, f"So it is \\boxed{{{item.target}}}.")
        assert not task.grade(item, item.question)


@pytest.mark.parametrize(
    ("row", "target"),
    [
        (GSM8K, "3"),
        (
            {"problem": "x?", "solution": "So $x=\\boxed{\\frac12}$.", "answer": "\\frac{1}{2}"},
            None,
        ),
        ({"problem": "x?", "solution": "So $x=\\boxed{\\frac12}$."}, "\\frac12"),
        ({"ID": "2024-I-1", "Problem": "x?", "Answer": 204}, "204"),
        ({"problem": "x?", "answer": "033"}, "033"),
        ({"prompt": "1 + 2 =\n", "answer": 3.0}, "3.0"),
        ({"question": "x?", "answer": ["7"]}, "7"),
        ({"question": "Is it?", "answer": True}, "True"),
    ],
)
def test_the_answers_of_published_forms_are_found(row: dict[str, Any], target: str | None):
    task = question_task()
    item = task.row_to_item(row)
    assert item.target == (target or row["answer"])
    assert task.grade(item, f"The answer is \\boxed{{{item.target}}}.")


def test_a_prompt_column_is_continued_as_it_stands():
    item = question_task().row_to_item({"prompt": "1 + 2 =\n", "answer": "3"})
    assert item.prompt == item.question == "1 + 2 =\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"answer": "3"}, r"no column any of question, .*--question-column"),
        ({"question": "x?"}, r"no column any of answer, .*it has question: .*--answer-column"),
        ({"question": " ", "answer": "3"}, "need the text of a question"),
        ({"question": "x?", "answer": None}, "got None as `answer`"),
        ({"question": "x?", "answer": "word " * 60}, "states no final answer"),
        ({"question": "\ud800", "answer": "3"}, "surrogates not allowed"),
    ],
)
def test_malformed_rows_are_rejected_with_reasons(tmp_path: Path, row: Any, reason: str):
    task = question_task()
    with pytest.raises(ValueError, match=reason):
        task.row_to_item(row)
    items, rejected = task.load(written(tmp_path / "a.jsonl", row, GSM8K), None)
    assert [item.id for item in items] == [1] and [reject.row for reject in rejected] == [1]


def test_columns_are_named_where_their_names_are_unusual(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("Frage;x,Antwort\n1 + 2?,3\n")
    named = TaskOptions(question_column="Frage;x", answer_column="Antwort")
    ((item,), _) = find_task(named).load(path, None)
    assert (item.question, item.target) == ("1 + 2?", "3")
    with pytest.raises(ValueError, match="no column `Fragen`; it has Frage;x, Antwort"):
        question_task(columns=Columns(question="Fragen")).load(path, None)


def test_rows_are_indices_from_0(tmp_path: Path):
    path = written(tmp_path / "a.jsonl", *({**GSM8K, "question": f"{k}?"} for k in range(5)))
    items, _ = question_task().load(path, "1:3")
    assert [(item.id, item.question) for item in items] == [(1, "1?"), (2, "2?")]


def test_a_chat_prompt_states_the_question_and_the_instruction():
    task = find_task(TaskOptions(task="gsm8k"))
    item = task.row_to_item(GSM8K)
    system, user = chat_prompt(task, item, system="Be terse.")
    assert system == {"role": "system", "content": "Be terse."}
    assert user["content"].startswith(GSM8K["question"] + "\n\n")
    assert user["content"].endswith("put your final answer within \\boxed{}.")
    bare = find_task(TaskOptions(task="gsm8k", prompt_template="Q: {question}"))
    assert chat_prompt(bare, item)[0]["content"] == "Q: " + GSM8K["question"]


def test_few_shot_shows_solved_problems_first(tmp_path: Path):
    options = TaskOptions(task="gsm8k", few_shot=2)
    task = find_task(options)
    item, examples = task.row_to_item(GSM8K), find_examples(task, options)
    chat = chat_prompt(task, item, examples=examples)
    assert [turn["role"] for turn in chat] == ["user", "assistant"] * 2 + ["user"]
    assert "\\boxed{121}" in chat[1]["content"]
    text = text_prompt(item, examples)
    assert text.count("Question: ") == 3 and text.endswith(item.prompt)
    path = written(tmp_path / "train.jsonl", GSM8K)
    own = TaskOptions(task="gsm8k", few_shot=1, few_shot_input=str(path))
    (example,) = find_examples(task, own)
    assert example.solution == "1 + 2 = 3\nSo 3.\nThe final answer is \\boxed{3}."
    with pytest.raises(ValueError, match=r"few_shot=2, and .*train.jsonl has 1 solved"):
        find_examples(task, TaskOptions(few_shot=2, few_shot_input=str(path)))


def test_examples_of_the_hub_are_of_the_train_split(monkeypatch: pytest.MonkeyPatch):
    # A prompt must not show problems of the split that it is measured on.
    asked: list[Any] = []

    def load_dataset(name: str, subset: str | None, *, split: str) -> list[dict[str, str]]:
        asked.append((subset, split))
        return [GSM8K]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    options = TaskOptions(task="gsm8k", subset="main", few_shot=1, few_shot_input="openai/gsm8k")
    task = find_task(options)
    task.load("openai/gsm8k", None)
    assert len(find_examples(task, options)) == 1
    assert asked == [("main", "test"), ("main", "train")]


def test_every_worked_example_has_the_answer_that_it_states():
    task = find_task(TaskOptions(task="gsm8k"))
    assert len(task.examples) == 4
    assert all(task.grade(example.item, example.solution) for example in task.examples)


def test_a_task_of_ones_own_is_named_by_its_module_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = (
        "from reason_decode.tasks import question_task\n"
        "MINE = question_task('mine', max_new_tokens=7)\nOTHER = 3\n"
    )
    (tmp_path / "my_own_tasks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    for name in ("my_own_tasks:MINE", "my_own_tasks.py:MINE", f"{tmp_path}/my_own_tasks.py:MINE"):
        task = find_task(TaskOptions(task=name))
        assert (task.name, task.max_new_tokens) == ("mine", 7)
    with pytest.raises(ValueError, match="'my_own_tasks:OTHER', which is 3"):
        find_task(TaskOptions(task="my_own_tasks:OTHER"))
    with pytest.raises(ImportError):
        find_task(TaskOptions(task="no_such_module:TASK"))
    with pytest.raises(ValueError, match="no file none.py"):
        find_task(TaskOptions(task="none.py:TASK"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "gsm9k"}, "got the task 'gsm9k'; need one of gsm8k, "),
        ({"task": "game24", "answer_column": "x"}, "got answer for the task game24"),
        ({"few_shot": -1}, "few_shot=-1"),
        ({"few_shot_input": "x"}, "without few_shot"),
        ({"prompt_template": "x"}, "needs {question}"),
        ({"task": "math", "few_shot": 1}, "the task math has 0 solved problems"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        asked = TaskOptions(**options)
        find_examples(find_task(asked), asked)
