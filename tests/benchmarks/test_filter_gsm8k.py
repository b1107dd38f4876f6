import json
import random

import pytest

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers' and torch's own
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_filter_gsm8k_trains_a_model_and_measures_the_filter(tmp_path, benchmark, capsys):
    run = benchmark("papers.filter_gsm8k")
    things = ("eggs", "cars", "hats", "coins", "books", "cups")
    question = "Ann has {a} {x} and buys {b} more {x}. How many {x} has she?"
    step = "Ann has {a}+{b} = <<{a}+{b}={c}>>{c} {x}."
    socratic = "How many {x} does Ann have now? ** " + step
    plain, asked = (
        [{"question": question, "answer": f"{line}\n#### {{c}}"} for _ in things]
        for line in (step, socratic)
    )
    for rows in (plain, asked):
        for k, (row, x) in enumerate(zip(rows, things, strict=True)):
            values = {"a": k, "b": 2 * k, "c": 3 * k, "x": x}
            rows[k] = {name: text.format(**values) for name, text in row.items()}
    write_rows(tmp_path / "train.jsonl", plain * 4)
    write_rows(tmp_path / "test_socratic.jsonl", asked * 2)
    (first, *_) = benchmark("papers.gsm8k_problems").read_problems(tmp_path / "test_socratic.jsonl")
    assert first.steps == ("Ann has 0+0 = 0 eggs.", "#### 0")
    assert first.sub_questions == ("How many eggs does Ann have now?",)
    common = ["--input", str(tmp_path), "--model", str(tmp_path / "model")]
    small = ["--layers", "1", "--width", "32", "--epochs", "1", "--short", "9"]
    assert run.main(["train", *common, *small]) == 0
    assert run.main(["test", *common]) == 0
    printed = capsys.readouterr().out
    assert "12 problems, 12 steps, each scored twice" in printed
    ways = [line.split()[:2] for line in printed.splitlines()[-4:]]
    assert ways == [[discount, by] for discount in ("0.9", "1.0") for by in ("sum", "mean")]


def test_own_above_foreign_is_the_share_of_ordered_pairs(benchmark):
    run = benchmark("papers.filter_gsm8k")

    def above(*pairs):
        values = [(False, *pair) for pair in pairs] + [(True, 9.0, False)]
        return run._own_above_foreign([run.LabelledValue(*x) for x in values])

    (name,) = above((1.0, True))
    assert above((3.0, True), (2.0, False), (1.0, True), (0.0, False)) == {name: "75.0 %"}
    assert above((1.0, True), (1.0, False)) == {name: "50.0 %"}


def test_a_rare_word_is_replaced_by_the_same_word_everywhere_and_numbers_never(benchmark):
    problem = benchmark("papers.gsm8k_problems").WordProblem(
        "Ann has 3 hats.", ("She has 3 hats.", "Hats: 4.", "#### 4")
    )
    rare = dict.fromkeys(("hats", "ducks"))
    found = {
        benchmark("papers.gsm8k_loss_model")._replace_words(problem, rare, random.Random(k))
        for k in range(20)
    }
    assert found == {
        problem._replace(
            question=f"Ann has 3 {x}.", steps=(f"She has 3 {x}.", f"{y}: 4.", "#### 4")
        )
        for x, y in (("hats", "hats"), ("ducks", "ducks"))
    }
