"""Processes that are killed, and several processes at once, with the packaged models."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.runs import workers

ROOT = Path(__file__).resolve().parents[2]
COUNT = 16
CODE = "import sys; from reason_decode.cli import main; sys.exit(main(sys.argv[1:]))"
SUMS = [f"(({k} + 1) * (2 - {k})) =" for k in range(COUNT)]


def argv(command: str, folder: Path, *more: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    data, out = folder.parent / f"{command}.data", str(folder / "out")
    if command == "eval":
        rows: list[Any] = [{"input": x, "target": "1"} for x in SUMS]
        data.write_text(json.dumps({"examples": rows}))
        given = ["--input", str(data), "--task", "bbh-arithmetic", "--output", out]
        given += ["--strategy", "sample", "--max-new-tokens", "40", "--batch-size", "2"]
    elif command == "generate":
        data.write_text("".join(json.dumps({"prompt": f"{x}\n"}) + "\n" for x in SUMS))
        given = ["--input", str(data), "--output", out, "--n", "2", "--trace"]
        given += ["--max-new-tokens", "40", "--batch-size", "2"]
    else:
        steps = [f"We need A * B for {k}." for k in range(40)]
        rows = [{"input": x, "steps": steps, "target": "1", "mistake_index": 1} for x in SUMS]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = ["--input", str(data), "--output", out, "--batch-size", "1"]
        given += ["--scorer", "tiny"] if command == "label" else ["--threshold", "0.5"]
    return [command, *given, *more]


def start_command(given: list[str]) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "kernels" / "torch-ext")))
    # One thread, as in this process: several threads add floats in another order.
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *given],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_sigint,
    )


def restore_sigint() -> None:
    """Undo that a shell starts background processes with SIGINT ignored, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(process: subprocess.Popen[str], journal: Path, lines: int) -> None:
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.001)


def result(folder: Path) -> Any:
    text = (folder / "out").read_text()
    if text.startswith('{"id"'):
        return text
    return {name: x for name, x in json.loads(text).items() if name != "seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["generate", "eval", "verify", "label"])
def test_a_killed_command_resumes_to_the_result_of_an_unbroken_run(command: str, tmp_path: Path):
    folder = tmp_path / "killed"
    given, generator = argv(command, folder), random.Random()
    process = start_command(given)
    name = "out" if command in ("generate", "label") else "out.run/part-1-of-1.jsonl"
    wait_for(process, folder / name, generator.randrange(1, 5))
    time.sleep(generator.random() / 50)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = (folder / name).read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert 0 < whole.count(b"\n") < COUNT
    assert main(given) == 0
    assert main(argv(command, tmp_path / "whole")) == 0
    assert result(folder) == result(tmp_path / "whole")
    if command in ("generate", "label"):
        assert (folder / "out").read_bytes().startswith(whole)


@pytest.mark.slow
def test_ctrl_c_exits_with_130_and_prints_the_command_that_resumes(tmp_path: Path):
    given = argv("eval", tmp_path / "stopped")
    process = start_command(given)
    wait_for(process, tmp_path / "stopped" / "out.run" / "part-1-of-1.jsonl", 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert f"of {COUNT} are done and kept in" in said and "Traceback" not in said
    assert said.rstrip().endswith(" ".join(["reason-decode", *given]))


@pytest.mark.slow
def test_two_workers_give_the_result_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(argv("eval", tmp_path / "one")) == 0
    monkeypatch.setattr(
        "reason_decode.serving.from_options.load_model", lambda name, *_: pytest.fail("loaded")
    )
    assert main(argv("eval", tmp_path / "two", "--workers", "2")) == 0
    assert result(tmp_path / "two") == result(tmp_path / "one")
    assert list((tmp_path / "two").iterdir()) == [tmp_path / "two" / "out"]


def test_a_failed_worker_is_reported_with_its_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def start(command: Any, folder: Path, index: int, count: int) -> subprocess.Popen[bytes]:
        code = f"print('no model {index}', flush=True); raise SystemExit({3 * (index - 1)})"
        with (folder / f"worker-{index}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-c", code], stdout=log)

    monkeypatch.setattr(workers, "_start", start)
    assert main(argv("eval", tmp_path / "two", "--workers", "2")) == 2
    said = capsys.readouterr().err
    assert "worker 2 of 2 failed (3)" in said and said.rstrip().endswith("no model 2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # datatrove's and multiprocess's own
def test_datatrove_executor_gives_the_result_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("datatrove", reason="datatrove is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(argv("generate", tmp_path / "one")) == 0
    monkeypatch.setattr(
        "reason_decode.serving.from_options.load_model", lambda name, *_: pytest.fail("loaded")
    )
    local = ["--executor", "local", "--workers", "2"]
    assert main(argv("generate", tmp_path / "two", *local)) == 0
    assert result(tmp_path / "two") == result(tmp_path / "one")
