import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reason_decode import tiny

pytestmark = pytest.mark.slow


def test_rationales_table_runs_small(
    tmp_path: Path, benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rationales = benchmark("papers.rationales")
    data = tmp_path / "24.csv"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,1 1 11 11\n3,1 1 3 8\n")
    out = tmp_path / "out.jsonl"
    # The base writes no useful rationale, but the table needs none.
    settings = ["greedy", "random", "likelihood by the rationalyst", "implicit", "explicit"]
    arguments = ["--input", str(data), "--limit", "1", "--seeds", "1", "--output", str(out)]
    arguments += ["--rationalyst", str(tiny.WEIGHTS / "base"), "--settings", *settings, "--n", "2"]
    assert rationales.main(arguments) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["setting"] for row in rows] == settings
    assert all(0 <= row["correct"] <= row["items"] == 1 for row in rows)
    printed = capsys.readouterr().out
    assert all(name in printed for name in settings)
