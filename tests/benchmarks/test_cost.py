from collections.abc import Callable
from typing import Any

import pytest


def test_the_table_runs_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each token is read once; the loop that starts anew reads what it has again and again."""
    cost = benchmark("cost")
    assert cost.main(["--n", "4", "--steps", "2", "4", "--length", "8", "--rounds", "1"]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    of_unique = {(name, int(steps)): float(rest[3]) for name, steps, *rest in cells}
    assert of_unique["reason-decode", 2] == of_unique["reason-decode", 4] == 1.0
    assert of_unique["plain loop", 4] > of_unique["plain loop", 2] > 1.5


def test_sampling_runs_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sampling = benchmark("sampling")
    assert sampling.main(["--n", "2", "--rounds", "1", "--new-tokens", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(float(line.split()[-1]) > 0 for line in lines[1:])
