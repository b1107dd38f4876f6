"""Strategies over vLLM in one process, and our logits processors inside it.

vLLM's packages do not go with ours, so the checks run under the Python of its own environment,
which ``REASON_DECODE_VLLM`` names.
"""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]


def test_strategies_and_processors_over_vllm_in_process(tmp_path: Path):
    python = os.environ.get("REASON_DECODE_VLLM", "")
    if not python or python.startswith("http"):
        pytest.skip("no vLLM in process: set REASON_DECODE_VLLM to the Python that has it")
    path = os.pathsep.join(map(str, (ROOT, ROOT / "kernels" / "torch-ext")))
    done = subprocess.run(
        [python, "-m", "tests.real.vllm_checks"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "all checks passed" in done.stdout, (done.stdout + done.stderr)[-4000:]
