"""The program of a process that compares LaTeX answers by math-verify; standard library only.

It is run by its path, so that it loads neither torch nor transformers; its argument is the CPU
seconds of one question, so that a busy machine decides none. It answers each line of JSON
``[a, b]`` on stdin by ``true`` or ``false``, a blank line by ``ready``, and ends with its parent.
"""

import json
import os
import signal
import sys
import threading
import time
from functools import lru_cache
from importlib import import_module
from typing import Any

MEMORY_BYTES = 512 * 2**20


def limit_memory() -> None:
    """Hold this process to what it has now and ``MEMORY_BYTES`` more."""
    try:
        import resource

        # Windows has no such module, and macOS refuses the limit; the time limit holds without it.
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, ValueError, OSError):
        pass


def limit_time(seconds: float) -> None:
    """Raise ``TimeoutError`` here after so many CPU seconds, and end the process a little later.

    A signal handler of Python's waits for the bytecode of one long multiplication to end; a CPU
    limit of the system does not. It also ends what a killed parent left behind.
    """
    if not hasattr(signal, "setitimer"):
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    if seconds:
        import resource

        used = int(sum(os.times()[:2])) + 1
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (used + int(seconds) + 1, hard))


def expire(*_: object) -> None:
    """End the question at hand."""
    raise TimeoutError


def end_with(parent: int) -> None:
    """End this process soon after its parent, whether or not a question is at hand."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """Answer questions until stdin ends."""
    seconds = float(sys.argv[1])
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, expire)
        threading.Thread(target=end_with, args=[os.getppid()], daemon=True).start()
    math_verify, expression = import_module("math_verify"), import_module("sympy").Expr
    limit_memory()

    # In a vote an answer is compared with many others, and half of the time is reading it.
    @lru_cache(maxsize=1024)
    def read(answer: str) -> Any:
        return math_verify.parse(f"\\boxed{{{answer}}}", parsing_timeout=None)

    def is_expression(parsed: Any) -> bool:
        return isinstance(parsed, expression | str)

    for line in sys.stdin:
        if not line.strip():
            print("ready", flush=True)
            continue
        try:
            limit_time(seconds)
            first, second = map(read, json.loads(line))
            same = math_verify.verify(first, second, timeout_seconds=None)
            # The order matters to it for equations, relations and sets only.
            if not same and not all(map(is_expression, (*first, *second))):
                same = math_verify.verify(second, first, timeout_seconds=None)
            limit_time(0)
        except (Exception, RecursionError, MemoryError):
            # An answer that sympy cannot read is not shown to be equal.
            limit_time(0)
            same = False
        print(json.dumps(bool(same)), flush=True)


if __name__ == "__main__":
    main()
