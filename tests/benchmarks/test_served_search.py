from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reason_decode.tiny import Tiny
from tests.completion_server import completions, greedily

pytestmark = pytest.mark.slow


def test_each_way_is_a_row(
    benchmark: Callable[[str], Any],
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = benchmark("speed.served_search")
    monkeypatch.setattr(served, "counted", lambda url: (0, 0))
    data = tmp_path / "24.csv"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n2,2 2 2 9\n")
    go_on = greedily(tiny.model)

    def always(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        return go_on({**body, "temperature": 0.0}, ids, index)

    with completions(always, tiny.tokenizer) as server:
        argv = ["--model", "tiny", "--engine", server.url, "--name", "m", "--input", str(data)]
        argv += ["--task", "game24", "--n", "2", "--max-new-tokens", "16"]
        assert served.main(argv) == 0
    out = capsys.readouterr().out
    assert "ours, in process" in out and "ours, side by side" in out
