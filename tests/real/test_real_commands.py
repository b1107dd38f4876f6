"""The commands from end to end on a real chat model, a few tokens each."""

import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from tests.real.conftest import RealModel

pytestmark = pytest.mark.real

FEW = ("--max-new-tokens", "24", "--n", "2", "--seed", "0")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, items: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(x) + "\n" for x in items), encoding="utf-8")
    return str(path)


@pytest.fixture
def questions(tmp_path: Path) -> str:
    items = [{"question": f"What is {k} + 1?", "answer": f"It is #### {k + 1}"} for k in (2, 3)]
    return write(tmp_path / "q.jsonl", items)


@pytest.mark.parametrize(
    "strategy",
    [
        ("greedy",),
        ("self-consistency",),
        ("best-of-n", "--scorer", "likelihood"),
        ("step-search", "--scorer", "likelihood"),
    ],
    ids=lambda words: words[0],
)
def test_eval_of_gsm8k(
    real: RealModel, questions: str, tmp_path: Path, strategy: tuple[str, ...]
) -> None:
    out = tmp_path / "eval.json"
    argv = ["eval", "--model", str(real.folder), "--task", "gsm8k", "--input", questions]
    more = FEW if strategy != ("greedy",) else FEW[:2]
    assert main([*argv, "--strategy", *strategy, *more, "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert 0 <= result["accuracy"] <= 1 and len(result["ci95"]) == 2


def test_generate_then_rerank_and_verify(real: RealModel, tmp_path: Path) -> None:
    chats = [{"messages": [{"role": "user", "content": f"What is {k} + 1?"}]} for k in (1, 2)]
    source, out = write(tmp_path / "p.jsonl", chats), tmp_path / "g.jsonl"
    argv = ["generate", "--model", str(real.folder), "--input", source, "--output", str(out)]
    assert main([*argv, "--strategy", "best-of-n", "--scorer", "likelihood", *FEW]) == 0
    assert len(rows(out)) == 2
    samples = [
        {"question": "What is 1 + 1?", "samples": ["It is 2.", "It is 3."], "answer": "2"},
        {"question": "What is 2 + 2?", "samples": ["It is 5.", "It is 4."], "answer": "4"},
    ]
    pool, ranked = write(tmp_path / "s.jsonl", samples), tmp_path / "r.json"
    judge = f"generative={real.folder}"
    assert main(["rerank", "--input", pool, "--scorer", judge, "--output", str(ranked)]) == 0
    assert 0 <= json.loads(ranked.read_text())["best_of_n"]["accuracy"] <= 1
