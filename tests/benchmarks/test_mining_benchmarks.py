from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_mining_filter_table_runs_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--documents", "3", "--rationales", "2", "--segment", "5", "--vocabulary", "300"]
    small += ["--width", "64", "--layers", "1", "--rounds", "1", "--batch-size", "2"]
    assert benchmark("speed.bench_mining_filter").main([*small, "--device", "cpu"]) == 0
    title, _, *naive, one, more = capsys.readouterr().out.strip().splitlines()
    assert title.startswith("3 documents, 2 rationales each")
    assert len(naive) == 2 and all(row.startswith("naive") for row in naive)
    assert one.startswith("ours") and more.startswith("ours, 2 documents")
    with pytest.raises(AssertionError, match="the methods differ"):
        benchmark("speed.bench_mining_filter").main([*small, "--device", "cpu", "--tolerance", "0"])


@pytest.mark.filterwarnings("ignore")  # datatrove's and multiprocess's own
def test_mine_many_compares_executors_small(
    benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed")
    module = benchmark("speed.mine_many")
    many = ["--output", str(tmp_path), "--documents", "60", "--executors", "here", "local"]
    many += ["--loss-model", "small"]
    assert module.main([*many, "--tasks", "2", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "here and local: 0 records in one only, 0 decided differently" in printed
    assert "near duplicate" in printed and "below the threshold" in printed
