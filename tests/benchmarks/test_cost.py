import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_cost_table_runs_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str], sal_checkout: Path
) -> None:
    """Our search reads each token once; a loop of plain calls reads all text at every step."""
    cost = benchmark("speed.cost")
    small = ["--n", "4", "--steps", "2", "4", "--length", "8", "--rounds", "1"]
    assert cost.main([*small, "--search-and-learn", str(sal_checkout)]) == 0
    of_unique = _of_unique(capsys.readouterr().out)
    assert of_unique["reason-decode", 2] == of_unique["reason-decode", 4] == 1.0
    assert of_unique["plain loop", 4] > of_unique["plain loop", 2] > 1.5
    for search in ("beam_search", "dvts"):
        assert of_unique[f"search-and-learn {search}", 4] == of_unique["plain loop", 4]


def test_cost_names_libraries_that_are_not_installed(
    benchmark: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost = benchmark("speed.cost")
    monkeypatch.setattr(cost, "_runs", lambda _: {"reason-decode": cost.ours})
    assert cost.main(["--n", "2", "--steps", "1", "--length", "4", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "pip install --no-deps its_hub" in out
    assert "git clone https://github.com/huggingface/search-and-learn" in out


def _of_unique(out: str) -> dict[tuple[str, int], float]:
    """The column "of unique", by search and number of steps."""
    lines = [re.split(" {2,}", line.strip()) for line in out.splitlines()]
    rows = [cells for cells in lines[1:] if len(cells) == len(lines[0])]
    return {(name, int(steps)): float(rest[3]) for name, steps, *rest in rows}


def test_sampling_table_runs_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = benchmark("speed.sampling")
    assert sampling.main(["--n", "2", "--rounds", "1", "--max-new-tokens", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert Counter(line.split()[0] for line in lines[1:]) == {"BestOfN": 4, "StepSearch": 2}
    assert all(float(line.split()[-1]) > 0 for line in lines[1:])
