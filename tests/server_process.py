"""Real servers of models on loopback, each a process of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib import request

import pytest


@contextmanager
def server_process(
    command: Callable[[str], Sequence[str]],
    log: Path,
    env: Mapping[str, str],
    patience: float,
) -> Iterator[str]:
    """The address of a server that a command starts, once ``/health`` says that it is up.

    Args:
        command: returns the command line, given a free port.
        log: file for what it prints; it runs in the folder of this file.
        env: its environment.
        patience: seconds to wait for it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with log.open("w") as out:
        process = subprocess.Popen(
            command(port), env=dict(env), stdout=out, stderr=out, cwd=log.parent
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log, patience)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def vllm(python: str, model: Path, name: str, log: Path, *options: str) -> Iterator[str]:
    """The address of a vLLM server of a model.

    Args:
        python: the Python of an environment with vLLM, whose packages are not those of this one.
        model: folder of the model.
        name: its name at the server.
        log: file for what it prints.
        options: further options of the server.
    """
    own = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    env = {key: x for key, x in os.environ.items() if key != "PYTHONPATH"} | own

    def command(port: str) -> Sequence[str]:
        # A build for CPUs is another package than vllm, which the command `vllm serve` looks for.
        given = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        given += ["--served-model-name", name, "--host", "127.0.0.1", "--port", port]
        given += ["--max-model-len", "512", "--enforce-eager", "--dtype", "float32"]
        return [*given, *options]

    # A start takes one minute where nothing else runs.
    with server_process(command, log, env, patience=900) as url:
        yield url


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path, patience: float) -> None:
    last = time.monotonic() + patience
    while time.monotonic() < last and process.poll() is None:
        try:
            with request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no server: {log.read_text()[-2000:]}")
