import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_early_stop_table_runs_small(
    tmp_path: Path, benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """With six equal answers and two others, the vote is decided after five samples."""
    early_stop = benchmark("papers.early_stop")
    path = tmp_path / "samples.jsonl.gz"
    texts = [f"The answer is {x}." for x in (7, 7, 7, 7, 7, 7, 8, 9)]
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"answer": "\\boxed{7}", "generated_answer": texts}) + "\n")
    assert early_stop.main(["--samples", str(path)]) == 0
    rows = {row[:10].strip(): row.split() for row in capsys.readouterr().out.splitlines()}
    assert "100.0" in rows["all"]
    assert "62.5" in rows["decided"]
    assert "25.0" in rows["hold 0.93"]
    assert "50.0" in rows["lead 0.95"]


def test_early_stop_samples_a_task_with_the_packaged_model(
    tmp_path: Path, benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    early_stop = benchmark("papers.early_stop")
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"examples": [{"input": "((1 + 2) * (3 - 4)) =", "target": "-3"}]}))
    arguments = ["--task", "bbh-arithmetic", "--input", str(path), "--n", "3"]
    assert early_stop.main(arguments) == 0
    assert "1 problems, 3 samples each" in capsys.readouterr().out
