"""Equality of LaTeX answers by math-verify, in processes with limits of time and memory.

Behind math-verify stands sympy, which spends minutes and gigabytes on a ``9^9^9^9``. A process can
be limited and killed, from any thread; math-verify's own timeout works in the main thread only and
takes the alarm signal of the caller's process. ``worker.py`` is the program of the processes.
"""

import atexit
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Condition, Event, Timer

__all__ = ["WORKERS", "same_latex"]

WORKERS = max(1, min(4, os.cpu_count() or 1))
MAX_LENGTH = 300
# A worker ends a question by itself after so many CPU seconds. The limit on the clock is for one
# that hangs without computing, or where the system has no such timers.
CPU_SECONDS = 1.5
SECONDS = 20.0
START_SECONDS = 60.0
# A vote compares each answer with many: one that is never compared in time may cost that twice.
MAX_OVERRUNS = 2
REMEMBERED = 1024


def same_latex(a: str, b: str) -> bool:
    """True if math-verify finds two LaTeX answers equal, in either order.

    Args:
        a: LaTeX without dollar signs; more than 300 characters are equal to nothing.
        b: the other answer.

    Returns:
        False as well where the comparison takes more than 1.5 seconds of CPU time or 512 MiB, for
        it is not shown that they are equal. An answer of two such comparisons is compared no more.

    Raises:
        ImportError: math-verify is not installed.
        RuntimeError: its process does not start.

    Source: https://github.com/huggingface/Math-Verify (version 0.9.0 tried).
    """
    if find_spec("math_verify") is None:
        raise ImportError(
            f"comparing the LaTeX answers {a[:80]!r} and {b[:80]!r} needs math-verify, which is "
            "not installed, though reason-decode depends on it: pip install math-verify"
        )
    if max(len(a), len(b)) > MAX_LENGTH:
        return False
    return _pool.same(a, b)


class _Worker:
    """One process, for one thread at a time."""

    def __init__(self) -> None:
        # -P: the folder of the program must not stand on the path, where its files shadow others.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(CPU_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent
        )
        if self.ask("", START_SECONDS) != "ready":
            raise RuntimeError(
                f"math-verify did not start within {START_SECONDS:.0f} seconds; "
                f"try: {sys.executable} -c 'import math_verify'"
            )

    def ask(self, question: str, seconds: float) -> str:
        """The next line of the process; empty, and the process gone, where none comes in time."""
        assert self.process.stdin is not None and self.process.stdout is not None
        overrun = Event()

        def expire() -> None:
            overrun.set()
            self.process.kill()

        timer = Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            self.process.stdin.write(question.encode() + b"\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline().decode().strip()
        except OSError:
            reply = ""
        finally:
            timer.cancel()
            timer.join()
        # The timer may fire just after a reply: the reply counts, and the process is gone.
        if not reply or overrun.is_set():
            self.stop()
        return reply

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # a question that was never read is still in the buffer


class _Pool:
    """Workers that are started when they are needed, and answers that overran."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.idle: list[_Worker] = []
        self.count = 0
        self.overruns: OrderedDict[str, int] = OrderedDict()

    def same(self, a: str, b: str) -> bool:
        with self.changed:
            if max(self.overruns.get(a, 0), self.overruns.get(b, 0)) >= MAX_OVERRUNS:
                return False
        with self.worker() as worker:
            reply = worker.ask(json.dumps([a, b]), SECONDS)
        if not reply:
            self.blame(a, b)
        return reply == "true"

    @contextmanager
    def worker(self) -> Iterator[_Worker]:
        """A worker of this thread's own, started if fewer than ``WORKERS`` run."""
        with self.changed:
            while not self.idle and self.count >= WORKERS:
                self.changed.wait()
            worker = self.idle.pop() if self.idle else None
            self.count += worker is None
        try:
            if worker is None or not worker.alive:
                worker = _Worker()
            yield worker
        finally:
            with self.changed:
                if worker is not None and worker.alive:
                    self.idle.append(worker)
                else:
                    self.count -= 1
                self.changed.notify()

    def blame(self, *answers: str) -> None:
        """Count a comparison that came to nothing; the earliest of too many are forgotten."""
        with self.changed:
            for answer in answers:
                self.overruns[answer] = self.overruns.pop(answer, 0) + 1
            while len(self.overruns) > REMEMBERED:
                self.overruns.popitem(last=False)

    def stop(self) -> None:
        with self.changed:
            for worker in self.idle:
                worker.stop()
            self.idle.clear()


_pool = _Pool()


def _forget_workers() -> None:
    """In a forked child: the pool's lock may be held by a thread that is not there."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


@atexit.register
def _stop() -> None:
    _pool.stop()
