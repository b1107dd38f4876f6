"""The command serve: what it refuses, how it ends, and many requests at a time."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from reason_decode.cli import main

PUZZLE = "Make 24 from 4 5 6 10.\n"


@contextmanager
def command(folder: Path, *argv: str) -> Iterator[tuple[subprocess.Popen[bytes], openai.OpenAI]]:
    """A running ``reason-decode serve`` of the packaged model, and a client of it."""
    log = folder / "log"
    given = ["serve", "--model", "tiny", "--port", "0", *argv]
    own = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "reason_decode", *given], env=own, stdout=out, stderr=out
        )
    try:
        last = time.monotonic() + 120
        while not (found := re.search(r"at (http\S+/v1)", log.read_text())):
            assert process.poll() is None and time.monotonic() < last, log.read_text()
            time.sleep(0.05)
        with openai.OpenAI(base_url=found[1], api_key="none", max_retries=0, timeout=300) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--port", "99999"], "got port=99999; need a number from 0 to 65535"),
        (["--max-waiting", "-1"], "got max_waiting=-1; need at least 0"),
        (["--client-key-env", "NO_KEY"], "got no key in the environment variable NO_KEY"),
        (["--client-key-file", "nowhere"], "No such file"),
        (["--host", "203.0.113.7"], "cannot listen at 203.0.113.7 port 8000"),
        (["--served-model-name", " "], "got an empty served_model_name"),
    ],
)
def test_refuses_in_words_before_the_model_is_loaded(
    argv: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        "reason_decode.serving.gateway.local.local_model", lambda *_: pytest.fail("loaded")
    )
    assert main(["serve", "--model", "tiny", *argv]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--system", "a"], "has no chat template; drop it"),
        (["--strategies", "best-of"], "got the strategy 'best-of'; need one of vote-N"),
    ],
)
def test_refuses_what_the_model_has_not(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["serve", "--model", "tiny", "--port", "0", *argv]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_package_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for name in [name for name in sys.modules if name.startswith("reason_decode.serving.gateway")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", "--model", "tiny"]) == 2
    assert "serve needs fastapi: pip install 'reason-decode[serving]'" in capsys.readouterr().err


@pytest.mark.slow
def test_sigterm_lets_what_runs_end(tmp_path: Path):
    with command(tmp_path) as (process, client):
        answers: list[Any] = []

        def ask() -> None:
            model = "best-of-16/tiny"
            answers.append(client.completions.create(model=model, prompt=PUZZLE, max_tokens=200))

        thread = threading.Thread(target=ask)
        thread.start()
        while not _running(client):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert process.wait(60) == 0
        assert answers[0].choices[0].text
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log and "Exception" not in log, log


@pytest.mark.slow
def test_64_requests_at_a_time_are_answered_and_leave_no_memory(tmp_path: Path):
    with command(tmp_path, "--max-traces", "16") as (process, client):
        memory = psutil.Process(process.pid)
        models = ("tiny", "best-of-2/tiny", "vote-2/tiny", "step-search-2/tiny")
        ends: list[str] = []

        def ask(until: float, k: int) -> None:
            while time.monotonic() < until:
                try:
                    answer = client.completions.create(
                        model=models[k % 4], prompt=PUZZLE, max_tokens=8, stream=k % 8 == 0
                    )
                    ends.append("ok" if isinstance(answer, openai.Stream) and list(answer) else "")
                except openai.APIError as error:
                    ends.append(str(error))

        def load(seconds: float) -> int:
            until = time.monotonic() + seconds
            threads = [threading.Thread(target=ask, args=(until, k)) for k in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return memory.memory_info().rss

        warm, last = load(8), load(8)
        assert not set(ends) - {"ok", ""} and len(ends) >= 128
        # Allocators keep some pages; a leak of a request would show after thousands of them.
        assert last < 1.15 * warm


def _running(client: openai.OpenAI) -> bool:
    url = str(client.base_url).removesuffix("v1/")
    text = client.get(f"{url}metrics", cast_to=str)
    return "reason_decode_running 1.0" in text
