"""A server that repeats the headers it got, and whatever a command writes or prints."""

import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from tests.server import served

KEY = "sk-planted-0123456789/abcdef"
ECHO = json.dumps({"error": {"message": "x" * 280 + f"Authorization: Bearer {KEY}"}})


def refused(status: int) -> tuple[str, str]:
    """A refusal that names the key in its first line, its headers and its text."""
    head = f"HTTP/1.1 {status} Bearer {KEY}\r\nX-Got: {KEY}\r\nContent-Length: {len(ECHO)}\r\n\r\n"
    return "raw", head + ECHO


BEHAVIOURS: dict[str, Any] = {
    "said by the model": None,
    "the reason of the end": (200, {}, f"stop {KEY}"),
    "401": refused(401),
    "400": refused(400),
    "500": refused(500),
    "a redirect": (302, {"Location": f"http://127.0.0.1/{KEY}"}, "stop"),
    "no HTTP": ("raw", f"Bearer {KEY}\r\n\r\n"),
    "no chat": ("raw", f"HTTP/1.1 200 X\r\nContent-Length: {len(ECHO)}\r\n\r\n{ECHO}"),
}


def commands(folder: Path, url: str) -> dict[str, list[str]]:
    """Each command that asks a server, without its output."""
    sums = [{"prompt": f"{k} + 1 =\n", "question": f"{k} + 1", "answer": "2"} for k in range(2)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    samples = [{"prompt": "1 + 1 =", "samples": ["1", "2"], "answer": "2"}]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    (folder / "texts.jsonl").write_text(json.dumps({"id": "1", "text": "One. Two. " * 9}) + "\n")
    server = ["--engine", url, "--model", "tiny", "--attempts", "2"]
    scorer = ["--scorer-endpoint", url, "--scorer-model", "m"]
    asked = ["--strategy", "greedy", *server]
    return {
        "generate": ["generate", "--input", str(folder / "sums.jsonl"), *asked],
        "eval": ["eval", "--input", str(folder / "sums.jsonl"), *asked],
        "rerank": ["rerank", "--input", str(folder / "samples.jsonl"), *scorer],
        "mine": [
            *["mine", "--input", str(folder / "texts.jsonl"), "--writer", "m"],
            *["--loss-model", "tiny", "--endpoint", url, "--attempts", "2"],
        ],
    }


@pytest.mark.filterwarnings("ignore:.*returns no log-probabilities")
@pytest.mark.parametrize("command", ["generate", "eval", "rerank", "mine"])
@pytest.mark.parametrize("case", BEHAVIOURS)
def test_no_file_and_no_output_holds_a_key_that_the_server_repeats(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    case: str,
    command: str,
):
    """A text of an error was cut before the key was taken out of it, which left a part of the key;
    what a model said, and the reason of its end, were written as they came.
    """
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("reason_decode.io.openai_client.random.uniform", lambda low, high: 0.0)

    def say(body: dict[str, Any]) -> str:
        return f"You sent Bearer {KEY}."

    def choice(body: dict[str, Any]) -> dict[str, Any]:
        return {} if "prompt" in body else {"message": {"content": say(body)}}

    with served(lambda prompt, count: BEHAVIOURS[case], say, choice) as (url, got):
        (tmp_path / "out").mkdir()
        argv = commands(tmp_path, url)[command]
        main([*argv, "--output", str(tmp_path / "out" / "out.json")])
    assert got and got[0]["key"] == f"Bearer {KEY}"
    printed = "".join(capfd.readouterr()) + caplog.text
    texts = [printed] + [x.read_text() for x in (tmp_path / "out").rglob("*") if x.is_file()]
    assert not [text for text in texts if KEY[:9] in text]
