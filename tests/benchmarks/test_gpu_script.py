"""The prepared run on a GPU, small and on a CPU, so that it does not fail when a device comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def run(out: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(ROOT / "benchmarks" / "speed" / "gpu.sh"), str(out), "--small"]
    own = {**os.environ, "PYTHON": sys.executable, **env}
    return subprocess.run(command, capture_output=True, text=True, env=own)


def test_the_prepared_run_is_whole_on_a_cpu(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("linear", "loss_delta", "token_logprobs"):
        found = json.loads((tmp_path / f"{name}.json").read_text())
        (rows,) = found["tables"].values()
        assert rows[0]["same twice"] == "-" and rows[1]["same twice"] == "yes"
        assert found["device"] == "cpu" and found["torch"]
    assert "passed" in (tmp_path / "correctness.txt").read_text()
    assert "StepSearch" in (tmp_path / "sampling.txt").read_text()


def test_a_part_that_fails_is_named_and_takes_no_other_with_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    # Fails for one of the parts, which are told apart by their command lines.
    python.write_text(
        '#!/bin/sh\ncase "$*" in *bench_loss_delta*) echo no device >&2; exit 3;; esac\necho "$*"\n'
    )
    python.chmod(0o755)
    done = run(tmp_path / "out", PYTHON=str(python))
    assert done.returncode == 1 and "FAILED: loss_delta\nno device" in done.stdout
    assert "bench_token_logprobs" in (tmp_path / "out" / "token_logprobs.txt").read_text()
