import gc
import os
import re
import signal
from pathlib import Path

import pytest

from tests.robustness.bad_inputs import bad_commands, bad_files

MEMORY = 2**20
"""Most KiB beyond those of the process before the command."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of forks, and of transformers, torch and peft
def test_bad_inputs_end_with_a_message_in_bounded_memory(tmp_path: Path):
    """Each in a fork: no traceback, no hang, and less than 1 GiB more than with a good input."""
    pytest.importorskip("accelerate", reason="training needs accelerate")
    from tests.robustness.soak import SECONDS, preload, start, wait_and_measure

    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    for name, content in bad_files().items():
        (data / name).write_bytes(content)
    preload()
    gc.collect()
    gc.freeze()
    (data / "good").write_text('{"prompt": "1 + 1 ="}\n')
    argv = ["generate", "--input", str(data / "good"), "--max-new-tokens", "4"]
    status, own = wait_and_measure(
        start([*argv, "--output", str(out / "good")], tmp_path / "good.log"), SECONDS
    )
    assert status == 0, (tmp_path / "good.log").read_text()
    faults: list[str] = []
    most, count = 0, 0
    for count, argv in enumerate(bad_commands(data, out), 1):
        log = tmp_path / f"{count}.log"
        child = start(argv, log)
        status, used = wait_and_measure(child, SECONDS)
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
        most = max(most, used - own)
        printed = log.read_text(errors="replace")
        if status not in (0, 1, 2) or re.search(r"^Traceback", printed, re.M):
            faults.append(f"{argv}: {status}: {printed[-500:]}")
    print(f"{count} bad inputs, {len(faults)} faults, at most {most / 2**10:.0f} MiB more")
    assert count >= 150 and not faults, "\n\n".join(faults)
    assert most < MEMORY
