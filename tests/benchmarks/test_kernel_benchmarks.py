from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["bench_token_logprobs", "bench_linear_token_logprobs", "bench_loss_delta"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kernel_table_runs_small(
    benchmark: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    dtype: str,
) -> None:
    module = benchmark(f"speed.{name}")
    # Compiling takes long and is torch's to test.
    monkeypatch.setattr(module.torch, "compile", lambda call: call)
    small = ["--device", "cpu", "--preset", "tiny", "--rows", "50", "--rounds", "1"]
    assert module.main([*small, "--dtype", dtype]) == 0
    title, header, floor, ours, *_ = capsys.readouterr().out.strip().splitlines()
    assert title.startswith("tiny: ") and header.split()[0] == "method"
    assert "floor" in floor and ours.split()[0] == "ours"
    assert all(float(ours.split()[k]) >= 0 for k in range(1, 6))


def test_a_wrong_method_stops_the_benchmark(benchmark: Callable[[str], Any]) -> None:
    shared = benchmark("speed.kernel_table")
    torch = shared.torch
    args = shared.make_parser("").parse_args(["--device", "cpu"])
    methods = [
        shared.Method("floor", lambda: None),
        shared.Method("wrong", lambda: torch.ones(2), lambda result: result),
    ]
    with pytest.raises(AssertionError, match=r"wrong: wrong by 1\.0 nats"):
        shared.compare(args, shared.Case("", methods, torch.zeros(2).double(), 1.0, 1.0))


def test_kernel_plot_is_drawn(benchmark: Callable[[str], Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    shared = benchmark("speed.kernel_table")
    args = shared.make_parser("").parse_args(["--plot", str(tmp_path / "cost.svg")])
    rows = [{"method": name, "of floor": "1.00", "extra MiB": "3"} for name in ("floor", "ours")]
    shared.show(args, {"one": rows, "two": rows})
    assert (tmp_path / "cost.svg").read_text().count("ours") >= 2
