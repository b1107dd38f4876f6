"""The processes that compare LaTeX answers: their limits, and life after one of them is met."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

import reason_decode
from reason_decode.core.answers import math_verify

pytestmark = pytest.mark.skipif(
    find_spec("math_verify") is None, reason="math-verify is not installed"
)
ROOT = Path(reason_decode.__file__).parents[1]


def test_a_runaway_comparison_is_ended_and_the_next_one_answered() -> None:
    assert math_verify.same_latex(r"\frac{2}{4}", r"\frac{1}{2}")
    start = time.process_time()
    assert not math_verify.same_latex("9^{9^{9^{9}}}", "9^{9^{9^{8}}}")
    assert time.process_time() - start < 2
    assert math_verify.same_latex(r"\frac{2}{4}", r"\frac{1}{2}")


def test_a_worker_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_verify, "SECONDS", 0.2)
    assert not math_verify.same_latex("9^{9^{9^{9}}}+1", "9^{9^{9^{8}}}+1")
    monkeypatch.undo()
    assert math_verify.same_latex(r"\frac{2}{4}", r"\frac{1}{2}")


def test_it_works_from_any_thread() -> None:
    same = math_verify.same_latex
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(same, [rf"\frac{{{i}}}{{4}}" for i in range(8)], ["1/2"] * 8)
    assert list(found) == [i == 2 for i in range(8)]


def test_text_that_is_no_latex_is_only_different() -> None:
    assert not math_verify.same_latex("\\frac{", "\ud800\n}")
    assert not math_verify.same_latex("x" * 301, "x" * 301)


PROGRAM = """
import os, sys, threading, time
from reason_decode.core.answers import math_verify
assert math_verify.same_latex("x+1", "1+x")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_another_thread_compares_can_compare() -> None:
    # Regression: the child hung on the parent's lock, which a thread of the parent held.
    code = (
        PROGRAM
        + """
threading.Thread(target=math_verify.same_latex, args=["9^{9^{9^{7}}}", "2"], daemon=True).start()
time.sleep(0.3)
child = os.fork()
if child == 0:
    os._exit(0 if math_verify.same_latex("x+2", "2+x") else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, timeout=120, capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_parent() -> None:
    # Regression: kill -9 of the parent left the comparing child at full speed.
    code = (
        PROGRAM
        + """
print(math_verify._pool.idle[0].process.pid, flush=True)
math_verify.same_latex("9^{9^{9^{9}}}", "9^{9^{9^{8}}}")
"""
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
