import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reason_decode import tiny
from reason_decode.tasks import TASKS

PROMPT = "Make 24 from 4 5 6 10.\n"


def test_the_table_runs_small(
    benchmark: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sal_checkout: Path,
) -> None:
    """Without any peer there is our row alone, and the peers that are missing are named."""
    peers = benchmark("papers.peers")
    monkeypatch.setattr(peers, "MODULES", dict.fromkeys(peers.MODULES, "no_such_library"))
    data = tmp_path / "24.csv"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([["Rank", "Puzzles"], [1, "4 5 6 10"], [2, "1 2 3 4"]])
    how = ["--data", str(data), "--n", "2", "--seeds", "1", "--contests", "step search"]
    how += ["--store", str(tmp_path / "runs.jsonl")]
    assert peers.main(how) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in out[1:3]] == ["ours", "ours, batched"]
    assert all(f"{name} can't be imported" in "\n".join(out) for name in peers.MODULES)
    assert "git clone" in out[-1]
    assert peers.main([*how, "--search-and-learn", str(sal_checkout)]) == 0
    out = capsys.readouterr().out
    assert "search-and-learn" in out.splitlines()[3]
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert len({run["key"] for run in runs}) == len(runs) == 3, "finished runs are not run again"
    assert "git clone" not in out


def test_peers_are_charged_for_what_they_make_the_models_read(
    benchmark: Callable[[str], Any],
) -> None:
    peers = benchmark("papers.peers")
    bench = peers.Bench(tiny.load(), TASKS["game24"], n=3, steps=4)
    said = bench.write([PROMPT] * 3, line=True)
    words = bench.models.tokenizer
    prompt = len(words(PROMPT)["input_ids"])
    # A line, its newline included, of which the last token is never read.
    assert bench.sampled == sum(len(words(x, add_special_tokens=False)["input_ids"]) for x in said)
    assert bench.read == 3 * prompt + bench.sampled - 3
    bench.judge(PROMPT, said, "last")
    assert bench.scored >= 3 * prompt + bench.sampled
