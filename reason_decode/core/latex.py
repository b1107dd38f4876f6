"""Whether two LaTeX answers are equal, decided by math-verify in a process of its own.

Behind math-verify stands sympy, which spends minutes and gigabytes on a ``9^9^9^9``. A process can
be held to a memory limit and killed when it overruns, from any thread; math-verify's own timeout
works in the main thread only and takes the host's alarm signal.

This file is also the program of that process. It is run by its path, so that the process loads
neither torch nor transformers, and imports the standard library only.
"""

import atexit
import json
import os
import subprocess
import sys
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from threading import Event, Lock, Timer
from typing import Any

__all__ = ["same_latex"]

MAX_LENGTH = 300
SECONDS = 5.0
START_SECONDS = 60.0
MEMORY_BYTES = 4 * 2**30
# A vote compares each answer with many: one that is never compared in time is to cost that twice.
PATIENCE = 2
REMEMBERED = 1024

_lock = Lock()
_overruns: dict[str, int] = {}
_worker: subprocess.Popen[bytes] | None = None
_owner = 0


def same_latex(a: str, b: str) -> bool:
    """Whether math-verify finds two LaTeX answers equal, in either order.

    Args:
        a: LaTeX without dollar signs; more than 300 characters are equal to nothing.
        b: the other answer.

    Returns:
        False as well where the comparison takes more than 5 seconds or 4 GiB: not shown equal. An
        answer of two such comparisons is compared no more.

    Raises:
        ImportError: math-verify is not installed.
        RuntimeError: its process does not start.

    Source: https://github.com/huggingface/Math-Verify (version 0.9.0 tried).
    """
    if find_spec("math_verify") is None:
        raise ImportError(
            f"comparing the LaTeX answers {a[:80]!r} and {b[:80]!r} needs math-verify, which is "
            "not installed: pip install 'reason-decode[answers]'"
        )
    if max(len(a), len(b)) > MAX_LENGTH:
        return False
    with _lock:
        if max(_overruns.get(a, 0), _overruns.get(b, 0)) >= PATIENCE:
            return False
        reply = _ask(_running(), json.dumps([a, b]), SECONDS)
        if not reply:
            _blame(a, b)
        return reply == "true"


def _blame(*answers: str) -> None:
    """Count a comparison that came to nothing; of too many answers the earliest are forgotten."""
    for answer in answers:
        _overruns[answer] = _overruns.pop(answer, 0) + 1
    while len(_overruns) > REMEMBERED:
        del _overruns[next(iter(_overruns))]


def _running() -> subprocess.Popen[bytes]:
    """The process, started when there is none or when it belongs to the parent of a fork."""
    global _worker, _owner
    if _worker is None or _owner != os.getpid() or _worker.poll() is not None:
        # -P: this folder must not stand on the path, where its files would shadow others.
        _worker = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _owner = os.getpid()
        if _ask(_worker, "", START_SECONDS) != "ready":
            raise RuntimeError(
                f"math-verify did not start within {START_SECONDS:.0f} seconds; "
                f"try: {sys.executable} -c 'import math_verify'"
            )
    return _worker


def _ask(worker: subprocess.Popen[bytes], question: str, seconds: float) -> str:
    """The process's next line; empty, and the process gone, where it gives none in time."""
    assert worker.stdin is not None and worker.stdout is not None
    overrun = Event()

    def expire() -> None:
        overrun.set()
        worker.kill()

    timer = Timer(seconds, expire)
    timer.start()
    try:
        worker.stdin.write(question.encode() + b"\n")
        worker.stdin.flush()
        reply = worker.stdout.readline().decode().strip()
    except OSError:
        reply = ""
    finally:
        timer.cancel()
        timer.join()
    # The timer may fire just behind a reply: that reply counts, and the process is gone.
    if not reply or overrun.is_set():
        _stop()
    return reply


@atexit.register
def _stop() -> None:
    global _worker
    worker, _worker = _worker, None
    if worker is None or _owner != os.getpid():
        return
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except OSError:
            # A question that was never read is still in the buffer.
            pass


def _serve() -> None:
    """Answer each ``[a, b]`` line on stdin by ``true`` or ``false``, a blank one by ``ready``."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # Not every system has such limits; the time limit holds without them.
        pass
    math_verify = import_module("math_verify")
    verify = math_verify.verify

    # In a vote an answer is compared with many others, and half of the time is reading it.
    @lru_cache(maxsize=256)
    def read(answer: str) -> Any:
        return math_verify.parse(f"\\boxed{{{answer}}}", parsing_timeout=None)

    for line in sys.stdin:
        if not line.strip():
            print("ready", flush=True)
            continue
        try:
            first, second = map(read, json.loads(line))
            same = verify(first, second, timeout_seconds=None) or verify(
                second, first, timeout_seconds=None
            )
        except (Exception, RecursionError, MemoryError):
            # Whatever sympy cannot digest is not shown to be equal.
            same = False
        print(json.dumps(bool(same)), flush=True)


if __name__ == "__main__":
    _serve()
