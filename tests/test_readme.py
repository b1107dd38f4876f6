"""What the README shows on the packaged models runs as it stands there, from top to bottom."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.usefixtures("own_modules")
@pytest.mark.filterwarnings("ignore")
def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    # Others begin with a model of the reader's own, or one to be fetched.
    first = next(k for k, block in enumerate(BLOCKS) if "tiny.load()" in block)
    shown = [block for block in BLOCKS[first:] if "you/" not in block]
    assert len(shown) >= 5
    names: dict[str, Any] = {}
    for block in shown:
        exec(compile(block, "README.md", "exec"), names)
    scores = names["scores"]
    assert [len(x) for x in scores] == [1, 1]
    assert scores[0] > scores[1]
