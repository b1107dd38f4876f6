import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode import tiny

pytestmark = pytest.mark.slow


def test_a_pool_resumes_and_its_statistics_are_those_of_its_tokens(
    benchmark: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = benchmark("papers.chat_pool")
    data, out = tmp_path / "24.csv", tmp_path / "pool.jsonl"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,2 2 2 9\n3,1 2 4 7\n")
    argv = ["--task", "game24", "--input", str(data), "--output", str(out), "--n", "2"]
    argv += ["--max-new-tokens", "24", "--batch-size", "1"]
    assert pool.main([*argv, "--problems", "2"]) == 0
    first = out.read_text()
    assert pool.main([*argv, "--problems", "3"]) == 0
    assert "3 problems, 6 samples" in capsys.readouterr().out
    assert out.read_text().startswith(first)
    t = tiny.load()
    row = json.loads(first.splitlines()[0])
    sample = row["samples"][0]
    prompt = t.tokenizer([row["question"]], return_tensors="pt")["input_ids"]
    ids = torch.cat([prompt[0], torch.tensor(sample["token_ids"])])
    with torch.no_grad():
        logps = t.model(ids[None]).logits[0].log_softmax(-1)
    start = len(prompt[0])
    expected = [float(logps[k - 1, ids[k]]) for k in range(start, len(ids))]
    # Four decimals are kept.
    assert sample["logprobs"] == pytest.approx(expected, abs=1e-3)


def test_a_pool_begins_with_the_rows_of_a_published_one(
    benchmark: Callable[[str], Any], tmp_path: Path
) -> None:
    data, out, published = tmp_path / "24.csv", tmp_path / "pool.jsonl", tmp_path / "public.jsonl"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,2 2 2 9\n3,1 2 4 7\n")
    pool = benchmark("papers.chat_pool")
    items = pool.find_task(pool.TaskOptions(task="game24")).load(str(data), None)[0]
    sample = {"text": "4 * 6 = 24", "token_ids": [5], "logprobs": [-0.5], "top": [[-0.5, -1.5]]}
    given = {
        **{"row": 2, "question": items[2].question, "greedy": "no"},
        "samples": [{**sample, "finished": True}] * 3,
    }
    published.write_text(json.dumps(given) + "\n")
    argv = ["--task", "game24", "--input", str(data), "--output", str(out), "--n", "2"]
    argv += ["--begin", str(published), "--problems", "2", "--max-new-tokens", "8"]
    assert pool.main(argv) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows][0] == items[2].id and len(rows) == 2
    assert [len(row["samples"]) for row in rows] == [2, 2]
    assert rows[0]["samples"][0]["confidences"] == [1.0]
    published.write_text(json.dumps({**given, "row": 1}) + "\n")
    with pytest.raises(ValueError, match="row 1 of the input has another question"):
        pool.main([*argv, "--output", str(tmp_path / "other.jsonl")])
