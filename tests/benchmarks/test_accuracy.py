import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_accuracy_table_runs_small(
    tmp_path: Path, benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy = benchmark("papers.accuracy")
    data = tmp_path / "24.csv"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,1 1 11 11\n")
    out = tmp_path / "out.jsonl"
    settings = ["greedy", "sample", "best of 16", "step search 8, beam 10"]
    arguments = ["--task", "game24", "--input", str(data), "--seeds", "1", "--output", str(out)]
    assert accuracy.main([*arguments, "--settings", *settings]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["setting"] for row in rows] == settings
    assert all(0 <= row["correct"] <= row["items"] == 2 for row in rows)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*settings, "pass@16"))
