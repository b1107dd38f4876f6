"""Hours of broken commands: ``make soak``, which says for how many minutes."""

import os
import random
from pathlib import Path

import pytest

MINUTES = "REASON_DECODE_SOAK_MINUTES"


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")  # of forks, and of transformers, torch and peft
@pytest.mark.skipif(not os.environ.get(MINUTES), reason=f"make soak sets {MINUTES}")
def test_broken_commands_end_as_unbroken_ones_do(tmp_path: Path):
    from tests.robustness.soak import soak

    seed = int(os.environ.get("REASON_DECODE_SOAK_SEED") or random.randrange(2**32))
    print(f"REASON_DECODE_SOAK_SEED={seed}")
    kills = int(os.environ.get("REASON_DECODE_SOAK_KILLS") or 0) or None
    counts = soak(tmp_path, 60 * float(os.environ[MINUTES]), seed, kills)
    print(counts)
    assert not counts.faults, "\n\n".join(counts.faults)
