from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("peft", reason="NAT needs peft")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # peft's own
]
SMALL = ["--device", "cpu", "--preset", "tiny", "--rounds", "1", "--rank", "2", "--gate-dim", "4"]


@pytest.mark.parametrize(
    ("dtype", "targets"), [("float32", "all-linear"), ("bfloat16", "q_proj,v_proj")]
)
def test_nat_tables_run_small(
    benchmark: Callable[[str], Any], capsys: Any, dtype: str, targets: str
) -> None:
    assert benchmark("speed.bench_nat").main([*SMALL, "--dtype", dtype, "--targets", targets]) == 0
    printed = capsys.readouterr().out
    assert printed.count("two stock LoRAs") == printed.count("NCE") == 1
    assert f"tiny: 2 x 8 tokens, {dtype}, {targets}" in printed


def test_a_wrong_nat_or_nce_stops_the_benchmark(
    benchmark: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = benchmark("speed.bench_nat")
    monkeypatch.setattr(
        module, "distillation_loss", lambda output, *_, side_inputs: output.logits.sum()
    )
    with pytest.raises(AssertionError, match="NCE: loss"):
        module.main(SMALL)
    monkeypatch.setattr(module.nat_layer, "gated_output", lambda base, *_: base)
    with pytest.raises(AssertionError, match="not the closed form"):
        module.main(SMALL)
