import doctest
import json
import re
from importlib import import_module
from itertools import islice

import pytest

from reason_decode import tiny
from reason_decode.io.read_report import ReadReport
from reason_decode.training import (
    LabelledSolution,
    grade_samples,
    is_right,
    read_labelled,
    solution_examples,
)


def sample(text: str, answer: str | None = "0.5", prompt: str = "p", **known) -> LabelledSolution:
    return LabelledSolution(
        prompt, tuple(text.split("\n")), (None,) * (text.count("\n") + 1), answer, **known
    )


def test_samples_are_graded_by_answer_and_all_are_counted():
    given = [
        sample(r"So \boxed{1/2}."),
        sample("Half.\nThe answer is 50%."),
        sample(r"So \boxed{1/2}."),  # again
        sample(r"So \boxed{1/2}.", prompt="q"),  # of another problem
        sample(r"So \boxed{2}."),
        sample("I do not know."),
        sample(r"So \boxed{7}.", answer=None),
        sample("No answer at all.", answer=None, correct=False),
    ]
    right, wrong, counts = grade_samples(given)
    assert right == [given[0], given[1], given[3]] and wrong == [given[4], given[7]]
    expected = (
        "8 samples of 2 problems: 3 right, 2 wrong, 1 duplicates, 1 unanswered, 1 ungraded; 1 mixed"
    )
    assert str(counts) == expected
    left_out = counts.duplicates + counts.unanswered + counts.ungraded
    assert counts.right + counts.wrong + left_out == counts.samples
    strict = grade_samples(given, unanswered_wrong=True)
    assert strict.wrong == [given[4], given[5], given[7]] and strict.counts.unanswered == 1
    assert grade_samples([]).counts.samples == 0


def test_samples_that_are_all_wrong_are_warned_of(caplog: pytest.LogCaptureFixture):
    grade_samples([sample("I do not know."), sample("The answer is 2.", source="f:3")])
    assert "f:3: none of 2 is graded right" in caplog.text
    assert "states the answer '2', the reference is '0.5'" in caplog.text
    caplog.clear()
    grade_samples([sample("The answer is 2.", answer=None, correct=False), sample("So #### 1/2")])
    grade_samples([sample("The answer is 2.", answer=None, correct=False)])
    assert caplog.text == ""


@pytest.mark.parametrize("answer", ["6 * 7 = <<6*7=42>>42\n#### 42", " 42 ", r"So $\boxed{42}$."])
def test_an_answer_may_be_a_whole_reference_solution(tmp_path, answer):
    # Regression: plain rows with GSM8K's own answers had every solution graded wrong, exit 0.
    path = tmp_path / "rows.jsonl"
    plain = {"prompt": "p", "solution": "6 * 7 = 42\nThe answer is 42.", "answer": answer}
    stepwise = {"prompt": "p", "completions": ["The answer is 42."], "labels": [None]}
    for row in (plain, {**stepwise, "answer": answer}):
        path.write_text(json.dumps(row) + "\n")
        (found,) = read_labelled(path)
        assert found.answer == "42" and is_right(found)


def test_bad_samples_of_a_row_are_left_out(tmp_path):
    path, report = tmp_path / "rows.jsonl", ReadReport()
    rows = [
        {"prompt": "p", "samples": ["a\nThe answer is 4.", " ", 7, "b"], "answer": "4"},
        {"prompt": "p", "samples": "a", "answer": "4"},
        {"prompt": "q", "samples": ["The answer is 4."], "answer": None},
        {"prompt": "r", "samples": ["The answer is 4."], "answer": r"A \boxed 4"},
        {"prompt": "s", "samples": ["The answer is 4."], "answer": "no answer in it " * 10},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(read_labelled(path, report=report))
    assert (report.format, report.items, report.malformed) == ("samples", 5, 1)
    assert report.left_out == {"sample without text": 2}
    assert [x.answer for x in found] == ["4", "4", None, "4", None]
    counts = grade_samples(found).counts
    assert (counts.right, counts.unanswered, counts.ungraded) == (2, 1, 2)


@pytest.mark.parametrize("name", ["gpt35", "gpt4"])
def test_published_samples_with_whole_numbers_are_graded_right(shared_data, name):
    path, box = shared_data / "math_samples" / f"{name}.jsonl.gz", re.compile(r"boxed\{(\d+)\}")
    if not path.exists():
        pytest.skip(f"no {path}")
    whole = []
    for found in islice(read_labelled(path, "math-samples"), 1000):
        boxes = box.findall("\n".join(found.steps))
        if len(boxes) == 1 and (found.answer or "").isdigit():
            whole.append((found, boxes[0] == found.answer))
    right, wrong, counts = grade_samples(found for found, _ in whole)
    assert counts.samples > 300 and counts.unanswered == counts.ungraded == 0
    expected = {(x.prompt, x.steps): verdict for x, verdict in whole}
    assert {(x.prompt, x.steps) for x in right} == {
        k for k, is_right in expected.items() if is_right
    }
    assert {(x.prompt, x.steps) for x in wrong} == {
        k for k, is_right in expected.items() if not is_right
    }
    assert counts.duplicates == len(whole) - len(expected)


def test_solution_tokens_and_eos_are_labels_and_the_prompt_is_context():
    words, model = tiny.load().tokenizer, tiny.load().model
    (example,) = solution_examples([sample("a = 1\nb = 2", prompt="x\n")], words, model)
    ids = words("x\na = 1\nb = 2\n")["input_ids"]
    assert example.ids == ids
    assert [*ids[example.positions[0] + 1 :], words.eos_token_id] == example.labels
    assert words.decode(example.labels) == "a = 1\nb = 2\n<eos>"
    assert example.positions == list(range(example.positions[0], len(ids)))
    (turned,) = solution_examples([sample("a", prompt="x")], words, model, chat=True)
    turn = words.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )
    assert words.decode([*turned.ids, turned.labels[-1]]) == f"{turn}a\n<eos>"
    assert turned.labels == example.labels[:1] + turned.labels[1:]


@pytest.mark.parametrize("name", ["adapters.nat", "adapters.active", "training.grading"])
@pytest.mark.filterwarnings("ignore")  # peft's own
def test_examples_run(name):
    pytest.importorskip("peft", reason="adapters need peft")
    found = doctest.testmod(import_module(f"reason_decode.{name}"))
    assert found.attempted and not found.failed
