import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode.core.answers import same_answers
from reason_decode.training import LabelledSolution
from tests.random_models import save_bert

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers', torch's and peft's own
]


def samples(truth: str, given: str) -> list[LabelledSolution]:
    return [LabelledSolution("p", (f"The answer is {x}.",), (None,), truth) for x in given]


@pytest.mark.parametrize("model", ["bert", "ngrams"])
def test_asc_table_runs_small(
    tmp_path: Path,
    benchmark: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    asc = benchmark("papers.asc")
    if model == "bert":
        model = str(save_bert(tmp_path / "bert"))
    rows = [
        {"question": f"Problem:\n{a} + 1 =", "answer": f"\\boxed{{{a + 1}}}"}
        | {"generated_answer": [f"The answer is {b}." for b in (a + 1, a + 1, a, a + 2)]}
        for a in range(8)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--samples", str(path), "--model", model, "--num-train-epochs", "1"]
    arguments += ["--output", str(tmp_path), "--folds", "2"]
    printed = ""
    for _ in range(2):  # the second time with the rankers of the first
        assert asc.main([*arguments, "--bootstrap", "20"]) == 0
        printed = capsys.readouterr().out
        table = {row[:14].strip(): row.split() for row in printed.splitlines()}
        assert "8 problems of 2 of 2 folds" in printed
        assert "100.00" in table["majority"] and "50.00" in table["one sample"]
        assert "100.00" in table["oracle"] and "+0.00" in table["1+s"]
    assert "'examples'" not in printed


def test_ties_are_shared_and_samples_without_an_answer_do_not_vote(
    benchmark: Callable[[str], Any],
) -> None:
    asc = benchmark("papers.asc")
    (problem,) = asc.graded(
        [[*samples("1", "1122"), LabelledSolution("p", ("Hm.",), (None,), "1")]]
    )
    same = asc.comparisons([problem])
    assert problem.right == [True, True, False, False, False] and problem.mixed
    scores = [0.9, 0.1, 0.5, 0.2, 1.0]
    rows = {row["method"]: row["right"] for row in asc._rows([(problem, scores)], same, 5)}
    assert rows["majority"] == "50.00 %" and rows["1+s"] == "100.00 %"
    assert rows["best of all"] == "100.00 %" and rows["one sample"] == "40.00 %"
    assert rows["pairs in order"] == "50.00 %"
    (sure,) = asc.graded([samples("1", "111")])
    assert not sure.mixed and asc._rows([(sure, [])], same, 5)[0]["right"] == "100.00 %"
    assert math.isnan(asc._interval(torch.zeros(0), 5)[0])


def test_answers_of_a_problem_are_compared_once_as_same_answer_does(
    benchmark: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The story: results of another version of same_answer were read from a cache on disk.
    asc = benchmark("papers.asc")
    asked: list[tuple[str, str]] = []

    def compare(pairs: list[tuple[str, str]]) -> list[bool]:
        asked.extend(pairs)
        return same_answers(pairs)

    texts = [
        LabelledSolution("p", (f"#### {x}",), (None,), "1/2") for x in ("0.5", "1/2", "50%", "2")
    ]
    problems = asc.graded([texts, texts])
    monkeypatch.setattr(asc, "same_answers", compare)
    same = asc.comparisons(problems)
    assert same("0.5", "50%") and same("50%", "1/2") and same("2", "2") and not same("2", "0.5")
    assert len(asked) == len(set(asked)) == 6


def test_a_problem_is_in_the_same_fold_with_and_without_its_heading(
    benchmark: Callable[[str], Any],
) -> None:
    fold_of = benchmark("papers.asc").fold_of
    assert fold_of("Problem:\nHow many?", 97) == fold_of("How many?", 97) != fold_of("Why?", 97)
