"""The snippets of README and guides that use the packaged models run from top to bottom."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("", ".strategies", ".scorers", ".processors")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if "```python" in path.read_text()
)


def run(text: str, least: int, from_tiny: bool = True) -> dict[str, Any]:
    """Names that the snippets of a text leave behind.

    Args:
        text: Markdown. What names "you/" needs a model of the reader's own and is not run.
        least: at least so many snippets must be there to run.
        from_tiny: whether what comes before ``tiny.load()`` needs a model of the reader's own, too.
    """
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    first = next(k for k, block in enumerate(blocks) if "tiny.load()" in block or not from_tiny)
    shown = [block for block in blocks[first:] if "you/" not in block]
    assert len(shown) >= least
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for block in shown:
        exec(compile(block, "snippet", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def elsewhere(own_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snippets write into the folder they are run in."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_the_snippets_of_the_readme_run() -> None:
    assert run((ROOT / "README.md").read_text(), 1)["response"].trace.best.text


@pytest.mark.filterwarnings("ignore")
def test_the_snippets_of_the_quick_start_run() -> None:
    scores = run((ROOT / "docs" / "guides" / "quickstart.md").read_text(), 3)["scores"]
    assert [len(x) for x in scores] == [1, 1]
    assert scores[0] > scores[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_every_page_run(page: str) -> None:
    assert run((ROOT / page).read_text(), 1, from_tiny=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("room", ROOMS)
def test_the_snippets_of_a_guide_run(room: str) -> None:
    assert run(importlib.import_module("reason_decode" + room).__doc__ or "", 1)


@pytest.mark.parametrize("room", [p.parent.name for p in ROOT.glob("reason_decode/*/__init__.py")])
def test_every_room_says_what_it_is(room: str) -> None:
    assert importlib.import_module(f"reason_decode.{room}").__doc__
