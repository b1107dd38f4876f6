import json
import random

import pytest

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_model_is_trained_and_the_filter_measured_with_it(tmp_path, benchmark, capsys):
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
    written(tmp_path / "train.jsonl", plain * 4)
    written(tmp_path / "test_socratic.jsonl", asked * 2)
    (first, *_) = run.read(tmp_path / "test_socratic.jsonl")
    assert first.steps == ("Ann has 0+0 = 0 eggs.", "#### 0")
    assert first.asked == ("How many eggs does Ann have now?",)
    common = ["--data", str(tmp_path), "--out", str(tmp_path / "model")]
    small = ["--layers", "1", "--width", "32", "--epochs", "1", "--short", "9"]
    assert run.main(["train", *common, *small]) == 0
    assert run.main(["test", *common]) == 0
    printed = capsys.readouterr().out
    assert "12 problems, 12 steps, each judged twice" in printed
    ways = [line.split()[:2] for line in printed.splitlines()[-4:]]
    assert ways == [[discount, by] for discount in ("0.9", "1.0") for by in ("sum", "mean")]


def test_how_often_own_is_above_foreign(benchmark):
    run = benchmark("papers.filter_gsm8k")

    def above(*pairs):
        return run._above([(False, *pair) for pair in pairs] + [(True, 9.0, False)])

    (name,) = above((1.0, True))
    assert above((3.0, True), (2.0, False), (1.0, True), (0.0, False)) == {name: "75.0 %"}
    assert above((1.0, True), (1.0, False)) == {name: "50.0 %"}


def test_rare_words_are_exchanged_everywhere_alike_and_numbers_never(benchmark):
    run = benchmark("papers.filter_gsm8k")
    problem = run.Problem("Ann has 3 hats.", ("She has 3 hats.", "Hats: 4.", "#### 4"))
    rare = dict.fromkeys(("hats", "ducks"))
    met = {run._exchanged(problem, rare, random.Random(k)) for k in range(20)}
    assert met == {
        problem._replace(
            question=f"Ann has 3 {x}.", steps=(f"She has 3 {x}.", f"{y}: 4.", "#### 4")
        )
        for x, y in (("hats", "hats"), ("ducks", "ducks"))
    }
