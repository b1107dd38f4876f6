import json
from pathlib import Path

import pytest

from reason_decode import RankingModel
from reason_decode.cli import main
from reason_decode.scorers import NGramRanker
from tests.random_models import save_bert

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own

ROWS = [
    {"prompt": f"{a} + 1 =", "samples": [f"The answer is {b}." for b in (a, a + 1)] + ["Hm."]}
    | {"answer": str(a + 1)}
    for a in range(6)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("kind", ["encoder", "tiny"])
def test_trains_a_ranker_that_loads(tmp_path, data, capsys, kind):
    model, options = "tiny", ["--max-solutions-per-problem", "2", "--lora-rank", "2"]
    if kind == "encoder":
        model, options = (
            str(save_bert(tmp_path / "bert")),
            ["--loss", "logistic", "--window", "24"],
        )
    else:
        pytest.importorskip("peft", reason="LoRA needs peft")
    out, told = tmp_path / "out", tmp_path / "told.json"
    arguments = ["train", "ranker", "--model", model, "--input", str(data), "--output", str(out)]
    arguments += ["--hold-out", "0.3", "--report", str(told), *options]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "18 samples of 6 problems: 6 right, 6 wrong" in printed and "6 unanswered" in printed
    (counts,) = json.loads(told.read_text())["rows"]
    assert 0 < counts["examples"] < 6 and counts["labels"] == 2 * counts["examples"]
    assert 0 <= counts["pair_accuracy"] <= 1
    ranker = RankingModel.from_pretrained(out)
    assert ranker.window == (24 if kind == "encoder" else None)
    (score,) = ranker.score(["1 + 1 =\n"], ["The answer is 2."])
    assert 0 < float(score) < 1


def test_rejects_samples_that_are_all_right(tmp_path, data, capsys):
    rows = [{**row, "samples": row["samples"][1:]} for row in ROWS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["train", "ranker", "--input", str(data), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "0 wrong samples, and no problem with both" in capsys.readouterr().err


def test_trains_a_linear_ranker(tmp_path, data, capsys):
    out = tmp_path / "out"
    arguments = ["train", "ngram-ranker", "--input", str(data), "--output", str(out)]
    assert main([*arguments, "--hold-out", "0.3"]) == 0
    assert "pair accuracy" in capsys.readouterr().out
    (score,) = NGramRanker.from_pretrained(out).score(["1 + 1 ="], ["The answer is 2."])
    assert 0 < float(score) < 1
