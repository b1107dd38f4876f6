import math

import pytest

from reason_decode.training.dataset_formats import (
    bigbench_mistake,
    math_shepherd,
    plain,
    processbench,
    stepwise,
)
from reason_decode.training.labelled import LabelledSolution

STEPWISE = {"prompt": "p", "completions": ["a", "b"], "labels": [True, False]}
BENCH = {"id": "math-3", "problem": "p", "steps": ["a", "b", "c"], "label": 1}
MISTAKE = {"input": "p", "steps": ["a", "b"], "answer": "5", "target": "6", "mistake_index": 0}
PLAIN = {"prompt": "p", "solution": "a\n\nb\n", "answer": "6"}


def shepherd(text: str, *verdicts: str) -> dict[str, str]:
    return {
        "input": text.format(*["ки"] * len(verdicts)),
        "label": text.format(*verdicts),
        "task": "GSM8K",
    }


def test_reads_stepwise_format():
    assert stepwise(STEPWISE) == [LabelledSolution("p", ("a", "b"), (1, -1))]
    row = {**STEPWISE, "labels": [1.0, None], "answer": "6", "correct": False}
    assert stepwise(row) == [LabelledSolution("p", ("a", "b"), (1, None), "6", False)]
    assert stepwise({**STEPWISE, "labels": [1, 0]}) == stepwise(STEPWISE)
    assert stepwise({**STEPWISE, "labels": ["+", "-"]}) == stepwise(STEPWISE)
    assert stepwise({**STEPWISE, "labels": [1, 0.5]})[0].soft == (1.0, 0.5)


def test_reads_math_shepherd_format():
    text = "How many?\nAnd why? Step 1: 2 + 3 = 5. {}\nStep 2: The answer is: 5 {}"
    (read,) = math_shepherd(shepherd(text, "+", "-"))
    assert read.prompt == "How many?\nAnd why?" and read.labels == (1, -1)
    assert read.steps == ("Step 1: 2 + 3 = 5.", "Step 2: The answer is: 5")
    assert read.correct is False
    assert math_shepherd(shepherd(text, "-", "+"))[0].correct is True


def test_math_shepherd_finds_the_end_of_odd_prompts():
    # It quotes "Step 1:" itself; it has a tag in it; nothing but a question mark ends it.
    quoted = math_shepherd(shepherd("Is step 1: x or y? Step 1: x {} Step 2: y {}", "+", "+"))
    assert quoted[0].prompt == "Is step 1: x or y?" and quoted[0].steps[0] == "Step 1: x"
    (tagged,) = math_shepherd(shepherd("Mr. Rocky {} has 2. Step 1: x {}", "-", "+"))
    assert (tagged.prompt, tagged.labels) == ("Mr. Rocky  has 2.", (1,))
    (unanswered,) = math_shepherd(shepherd("How many? x {} y {}", "+", "-"))
    assert (unanswered.prompt, unanswered.steps, unanswered.labels) == (
        "How many?",
        ("x", "y"),
        (1, -1),
    )


def test_math_shepherd_reads_what_follows_the_last_tag_as_an_unlabelled_step():
    (read,) = math_shepherd(shepherd("p Step 1: x {}\nStep 2: y", "+"))
    assert (read.steps, read.labels) == (("Step 1: x", "Step 2: y"), (1, None))
    assert read.correct is None


def test_reads_processbench_format():
    labels = {-1: (1, 1, 1), 0: (-1, None, None), 1: (1, -1, None), 2: (1, 1, -1)}
    for label, expected in labels.items():
        (read,) = processbench({**BENCH, "label": label, "final_answer_correct": True})
        assert read == LabelledSolution(
            "p", ("a", "b", "c"), expected, correct=True, source="math-3"
        )


def test_reads_bigbench_mistake_format():
    assert bigbench_mistake(MISTAKE) == [LabelledSolution("p", ("a", "b"), (-1, None), "6", False)]
    (read,) = bigbench_mistake({**MISTAKE, "mistake_index": None, "answer": " 6."})
    assert (read.labels, read.correct) == ((1, 1), True)
    # A step may be blank in the published files, and a model may have given no answer.
    (read,) = bigbench_mistake({**MISTAKE, "steps": ["a", ""], "answer": None})
    assert (read.steps, read.correct) == (("a", ""), False)


def test_reads_plain_format():
    assert plain(PLAIN) == [LabelledSolution("p", ("a", "b"), (None, None), "6")]
    (read,) = plain({"prompt": "p", "solution": "a\nb\n\nc", "correct": True}, separator="\n\n")
    assert read == LabelledSolution("p", ("a\nb", "c"), (None, None), correct=True)


@pytest.mark.parametrize(
    ("read", "row", "reason"),
    [
        (stepwise, {**STEPWISE, "labels": [True]}, "1 labels for 2 steps"),
        (stepwise, {**STEPWISE, "labels": [1, -1]}, "PRM800K format"),
        (stepwise, {**STEPWISE, "labels": [1.5, 0.5]}, "1.5"),
        (stepwise, {**STEPWISE, "labels": [1, math.nan]}, "nan"),
        (stepwise, {**STEPWISE, "labels": "+-"}, "need a list"),
        (stepwise, {**STEPWISE, "completions": []}, "need one per step"),
        (stepwise, {**STEPWISE, "completions": ["a", 7]}, "got 7 in `completions`"),
        (stepwise, {**STEPWISE, "prompt": [{"role": "user"}]}, "`prompt`; need text"),
        (stepwise, {**STEPWISE, "prompt": "\ud800"}, "surrogates"),
        (math_shepherd, {"input": "p Step 1: x ки", "label": "p Step 1: y +"}, "before tag 1"),
        (math_shepherd, {"input": "p Step 1: x ки", "label": "p Step 1: x ки"}, "before tag 1"),
        (math_shepherd, {"input": "p Step 1: x ки", "label": "p Step 1: x "}, "before tag 1"),
        (math_shepherd, shepherd("p. x {}", "+"), "the end of the prompt is unclear"),
        (math_shepherd, shepherd("p? q? x {}", "+"), "the end of the prompt is unclear"),
        (math_shepherd, {"input": "no tag? x", "label": "no tag? x"}, "no tag ки"),
        (math_shepherd, shepherd("Step 1: x {}", "+"), "need text"),
        (processbench, {**BENCH, "label": 3}, "got 3 as `label`"),
        (processbench, {**BENCH, "label": None}, "got None as `label`"),
        (processbench, {**BENCH, "label": True}, "got True as `label`"),
        (processbench, {**BENCH, "final_answer_correct": "no"}, "true, false or null"),
        (bigbench_mistake, {**MISTAKE, "mistake_index": -1}, "got -1"),
        (bigbench_mistake, {**MISTAKE, "mistake_index": 2}, "into a list of 2"),
        (bigbench_mistake, {"input": "p", "steps": ["a"], "target": "6"}, "no `mistake_index`"),
        (plain, {**PLAIN, "solution": " \n"}, "`solution`; need text"),
        (plain, {**PLAIN, "answer": {"x": 6}}, "text, a number or null"),
    ],
)
def test_malformed_rows_raise_with_the_reason(read, row, reason):
    with pytest.raises(ValueError, match=reason):
        read(row)
