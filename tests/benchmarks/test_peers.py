import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reason_decode import tiny
from reason_decode.tasks import TASKS

PROMPT = "Make 24 from 4 5 6 10.\n"


@pytest.mark.slow
def test_peers_table_runs_small(
    benchmark: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sal_checkout: Path,
) -> None:
    """Without any peer there are our rows only, and the missing peers are named."""
    peers = benchmark("papers.peers")
    monkeypatch.setattr(peers, "MODULES", dict.fromkeys(peers.MODULES, "no_such_library"))
    data = tmp_path / "24.csv"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([["Rank", "Puzzles"], [1, "4 5 6 10"], [2, "1 2 3 4"]])
    arguments = ["--input", str(data), "--n", "2", "--seeds", "1", "--contests", "step search"]
    arguments += ["--store", str(tmp_path / "runs.jsonl")]
    assert peers.main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in out[1:3]] == ["ours", "ours, batched"]
    assert all(f"{name} can't be imported" in "\n".join(out) for name in peers.MODULES)
    assert "git clone" in out[-1]
    assert peers.main([*arguments, "--search-and-learn", str(sal_checkout)]) == 0
    out = capsys.readouterr().out
    assert "search-and-learn" in out.splitlines()[3]
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert len({run["key"] for run in runs}) == len(runs) == 3, "finished runs are not run again"
    assert "git clone" not in out


def test_tokens_of_peers_are_counted(
    benchmark: Callable[[str], Any],
) -> None:
    models = benchmark("papers.peer_libraries").CountedModels(
        tiny.load(), TASKS["game24"], n=3, steps=4
    )
    lines = models.write([PROMPT] * 3, line=True)
    tokenizer = models.models.tokenizer
    prompt = len(tokenizer(PROMPT)["input_ids"])
    lengths = [len(tokenizer(x, add_special_tokens=False)["input_ids"]) for x in lines]
    assert models.sampled == sum(lengths)
    # The last token of a line, its newline, is sampled and never read.
    assert models.read == 3 * prompt + models.sampled - 3
    models.score(PROMPT, lines, "last")
    assert models.scored >= 3 * prompt + models.sampled
