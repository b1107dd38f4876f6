"""A plain call enters few files, so that one person can read it; special cases have their own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from run_strategy import generate

import reason_decode
from reason_decode import BestOfN, StepSearch
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

PACKAGE = f"{Path(reason_decode.__file__).parent}/"
SHARED = {
    "core/solutions.py",
    "core/splitting.py",
    "generation/cache.py",
    "generation/engine.py",
    "generation/row_processors.py",
    "generation/sampling.py",
    "models/inputs.py",
    "scorers/base.py",
    "scorers/causal.py",
    "scorers/process.py",
    "strategies/base.py",
}


def _files_entered(tiny: Tiny, strategy: Strategy) -> set[str]:
    files = set[str]()

    def note(frame: Any, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE):
            files.add(name.removeprefix(PACKAGE))

    torch.manual_seed(0)
    sys.setprofile(note)
    try:
        generate(tiny, strategy, ["Make 24 from 4 5 6 10.\n"])
    finally:
        sys.setprofile(None)
    return files


@pytest.mark.parametrize(
    ("kind", "options", "own"),
    [
        (StepSearch, {"n": 8, "beam_width": 4}, {"strategies/step_search.py"}),
        (BestOfN, {"n": 8}, {"strategies/best_of_n.py", "strategies/selection.py"}),
    ],
)
def test_a_plain_call_enters_few_files(
    tiny: Tiny, kind: Any, options: dict[str, int], own: set[str]
) -> None:
    """It took 19 files, a third of them for cases that the call was none of."""
    strategy = kind(tiny.prm, tokenizer=tiny.tokenizer, **options)
    assert _files_entered(tiny, strategy) <= SHARED | own
