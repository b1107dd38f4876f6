import json
from dataclasses import asdict
from typing import Any

import pytest

from examples.tiny.rationale_mining import to_rows, write_documents
from examples.tiny.rationales import draw
from examples.tiny.tokenizer import with_words
from reason_decode import tiny
from reason_decode.core.tags import TAGS
from reason_decode.io.jsonl import write_rows
from reason_decode.mining import ScoredRationale

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers' and torch's own
]


def by_number(documents, *_, **how):
    """Scores of sub-questions that name their problem's number, which no tiny model computes."""
    for x in documents:
        for k, asked in enumerate(x.rationales):
            delta = 1.0 if f" {x.id} " in asked else -1.0
            yield ScoredRationale(x, k, delta, delta, 1, "")


def test_mined_from_trains_four_models_and_guides_with_each(
    tmp_path, benchmark, capsys, monkeypatch
):
    run = benchmark("papers.mined_from")
    monkeypatch.setattr(run, "score_rationales", by_number)
    folder, documents = tmp_path / "run", list(draw(0, 40))
    t = tiny.load()
    fast: Any = t.tokenizer
    words = with_words(fast, TAGS)
    words.save_pretrained(folder / "reader")
    t.model.save_pretrained(folder / "reader")
    for name in ("drawn", "mined"):
        (folder / name).mkdir()
    write_documents(folder / "drawn" / "0001.jsonl", documents)
    right = [
        row for x in documents for row, good in zip(to_rows([x]), x.right, strict=True) if good
    ]
    write_rows(folder / "mined" / "0001.jsonl", (asdict(row) for row in right))
    problems = [
        {"question": "Q", "answer": f"How is {k} so? ** A.\nWhy is {k} so? ** B.\n#### 1"}
        for k in range(30)
    ]
    rows = "".join(f"{json.dumps(problem)}\n" for problem in problems)
    (tmp_path / "test_socratic.jsonl").write_text(rows)
    (tmp_path / "24.csv").write_text("Rank,Puzzles\n1,1 1 4 6\n")
    arguments = {"run": folder, "gsm8k": tmp_path, "input": tmp_path / "24.csv"}
    arguments |= {
        "loss-model": folder / "reader",
        "output": tmp_path / "out",
        "rationales": 8,
        "seeds": 1,
        "n": 2,
    }
    given = [str(y) for name, x in arguments.items() for y in (f"--{name}", x)]
    assert run.main(given) == 0
    printed = capsys.readouterr().out
    assert "general text: of 60 drawn" in printed and "kept 100.0 %" in printed
    assert printed.count("filtered (") == printed.count("as drawn (") == 2
    assert "random pick" in printed
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 5
    assert run.main(given) == 0  # the second run trains nothing
