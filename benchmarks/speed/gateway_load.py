"""Many requests at a time at a gateway: errors, seconds, and the memory that stays.

    python -m benchmarks.speed.gateway_load --seconds 600

Starts ``reason-decode serve`` with the packaged model on loopback and asks it from as many threads
as ``--concurrency`` says: plain decoding, votes, best-of-n and step searches in turn, every eighth
thread streams, and every ninth leaves its stream after the first event. After ``--warm-up`` seconds
the memory of the server is measured, and again at the end. The exit status is 1 if a request failed
or the memory grew by more than 5 %.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

import openai
import psutil

from reason_decode.io.console import table

PROMPT = "Make 24 from 4 5 6 10.\n"
STRATEGIES = ("", "vote-4/", "best-of-4/", "step-search-2x2/")
GROWTH = 1.05


class Phase(NamedTuple):
    """Requests of one phase.

    Args:
        errors: message -> number of requests that failed with it.
        seconds: seconds of each request that was answered.
        megabytes: resident memory of the server at the end.
    """

    errors: Counter[str]
    seconds: list[float]
    megabytes: float


def main() -> int:
    """Print the table; 1 if a request failed or memory grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of the load after the warm-up")
    parser.add_argument("--warm-up", type=float, default=20, help="seconds of load before it")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at a time")
    parser.add_argument("--max-tokens", type=int, default=16, help="tokens of an answer")
    args = parser.parse_args()
    with tempfile.TemporaryFile("w+") as log:
        given = ["serve", "--model", "tiny", "--port", "0", "--max-traces", "64"]
        # Threads that wait for each other spin, and slow a small model down where cores are shared.
        own = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "reason_decode", *given]
        with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=log) as server:
            try:
                assert server.stdout is not None
                url = server.stdout.readline().decode().rpartition(" at ")[2].strip()
                load = Load(url, psutil.Process(server.pid), args.concurrency, args.max_tokens)
                phases = {"warm-up": load.run(args.warm_up), "load": load.run(args.seconds)}
            finally:
                server.terminate()
                status = server.wait()
    errors = phases["warm-up"].errors + phases["load"].errors
    for message, count in errors.items():
        print(f"{count} x {message}")
    print(table([_row(name, phase) for name, phase in phases.items()]))
    growth = phases["load"].megabytes / phases["warm-up"].megabytes
    print(f"memory at the end: {growth:.3f} of that after the warm-up; exit status {status}")
    return 1 if errors or growth > GROWTH or status else 0


class Load:
    """Threads that ask a gateway.

    Args:
        url: the gateway's address.
        server: its process.
        concurrency: number of threads.
        max_tokens: tokens of an answer.
    """

    def __init__(self, url: str, server: psutil.Process, concurrency: int, max_tokens: int) -> None:
        self.server, self.concurrency, self.max_tokens = server, concurrency, max_tokens
        self.client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=600)

    def run(self, seconds: float) -> Phase:
        """Ask for a time, and wait for the last answers."""
        phase = Phase(Counter(), [], 0.0)
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._ask, args=(k, until, phase))
            for k in range(self.concurrency)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return phase._replace(megabytes=self.server.memory_info().rss / 2**20)

    def _ask(self, k: int, until: float, phase: Phase) -> None:
        model = f"{STRATEGIES[k % len(STRATEGIES)]}tiny"
        given: Any = {"model": model, "prompt": PROMPT, "max_tokens": self.max_tokens}
        while time.monotonic() < until:
            start = time.perf_counter()
            try:
                answer = self.client.completions.create(**given, stream=k % 8 == 0 or k % 9 == 0)
                if isinstance(answer, openai.Stream):
                    for _ in answer:
                        if k % 9 == 0:
                            break
                    answer.close()
                phase.seconds.append(time.perf_counter() - start)
            except openai.APIError as error:
                phase.errors[f"{type(error).__name__}: {error}"] += 1


def _row(name: str, phase: Phase) -> dict[str, Any]:
    return {
        "phase": name,
        "answered": len(phase.seconds),
        "failed": phase.errors.total(),
        "median s": f"{statistics.median(phase.seconds or [0.0]):.2f}",
        "slowest s": f"{max(phase.seconds, default=0.0):.2f}",
        "server MiB": f"{phase.megabytes:.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
