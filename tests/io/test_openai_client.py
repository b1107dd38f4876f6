import time
from typing import Any

import pytest

from reason_decode.io.completions import (
    Choice,
    Completion,
    CompletionEndpoint,
    CompletionRequest,
)
from reason_decode.io.openai_client import ChatEndpoint, RequestFailed
from tests.server import served


def chats(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": str(k)}] for k in range(count)]


def test_answers_come_in_the_order_of_the_chats(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    running, most = [0], [0]

    def slow(chat: str, _: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.03 if int(chat) % 3 == 0 else 0.001)
        running[0] -= 1

    with served(slow) as (url, got):
        complete = ChatEndpoint(
            url + "/", "m", api_key_env="MY_KEY", concurrency=4, extra_body={"seed": 3}
        )
        assert list(complete(chats(20))) == [f"re: {k}" for k in range(20)]
    assert 1 < most[0] <= 4
    assert {x["path"] for x in got} == {"/v1/chat/completions"}
    assert {(x["key"], x["model"], x["seed"]) for x in got} == {("Bearer secret", "m", 3)}


@pytest.mark.parametrize(
    "fault", [(500, {}, ""), (429, {"Retry-After": "nan"}, ""), "drop", "rubbish", "short", "deep"]
)
def test_temporary_failures_are_retried_after_growing_pauses(fault):
    slept: list[float] = []
    with served(lambda chat, count: fault if count < 4 else None) as (url, got):
        complete = ChatEndpoint(url, "m", concurrency=1, sleep=slept.append)
        assert list(complete(chats(1))) == ["re: 0"]
    assert len(got) == 4 and len(slept) == 3
    assert all(0.25 * 2**k <= pause <= 0.5 * 2**k for k, pause in enumerate(slept))


def test_retry_after_is_read_in_both_forms_and_delays_all_requests():
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    for value, low, high in (("7", 7, 7), (soon, 27, 31)):
        slept: list[float] = []
        fault = (429, {"Retry-After": value}, "")
        with served(lambda chat, count, fault=fault: fault if count == 1 else None) as (url, _):
            complete = ChatEndpoint(url, "m", concurrency=1, sleep=slept.append)
            assert list(complete(chats(1))) == ["re: 0"]
        # The pause of this request, and the time before which no request is sent.
        assert len(slept) == 2 and all(low - 0.5 <= pause <= high for pause in slept)


def test_requests_keep_the_rate_limit():
    slept: list[float] = []
    with served(lambda *_: None) as (url, _):
        complete = ChatEndpoint(url, "m", concurrency=1, requests_per_minute=60, sleep=slept.append)
        assert len(list(complete(chats(4)))) == 4
    assert len(slept) == 3 and all(k < pause <= k + 1 for k, pause in enumerate(slept))


def test_a_rejected_chat_does_not_affect_the_others():
    def behave(chat: str, _: int) -> Any:
        faults = {"1": (400, {}, ""), "2": (200, {}, "length"), "3": (503, {}, "")}
        return faults.get(chat)

    with served(behave) as (url, got):
        complete = ChatEndpoint(url, "m", attempts=2, sleep=lambda _: None)
        found = list(complete(chats(5)))
    assert found[0] == "re: 0" and found[4] == "re: 4"
    bad, cut, down = found[1:4]
    assert (
        isinstance(bad, RequestFailed) and bad.reason.startswith("HTTP 400: ") and not bad.retryable
    )
    assert (
        isinstance(cut, RequestFailed) and cut.reason.startswith("cut off: ") and not cut.retryable
    )
    assert isinstance(down, RequestFailed) and "(2 attempts)" in down.reason and down.retryable
    assert len(got) == 6


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "variable MY_KEY"), (404, "/models"), (307, "redirects")]
)
def test_a_refusal_of_every_request_ends_the_run_with_advice(status, advice):
    # The story: on a busy machine requests that were sent ahead went out after the refused one.
    headers = {"Location": "http://127.0.0.1:1/"} if status == 307 else {}
    with served(lambda *_: (status, headers, "")) as (url, got):
        with pytest.raises(ConnectionError, match=advice):
            list(ChatEndpoint(url, "m", api_key_env="MY_KEY", concurrency=1)(chats(50)))
    assert len(got) == 1


def test_rejects_invalid_arguments():
    with pytest.raises(ValueError, match="must begin with http"):
        ChatEndpoint("localhost:8000", "m")
    with pytest.raises(ValueError, match="concurrency=0; it must be positive"):
        ChatEndpoint("http://localhost", "m", concurrency=0)


@pytest.mark.parametrize("raw", ["HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\nzz", "reset"])
def test_a_refusal_whose_text_cannot_be_read_is_retried(raw):
    """A 500 with a broken body ended the run with a traceback of IncompleteRead."""
    with served(lambda chat, count: ("raw", raw) if count == 1 else None) as (url, got):
        complete = ChatEndpoint(url, "m", concurrency=1, sleep=lambda _: None)
        assert list(complete(chats(1))) == ["re: 0"]
    assert len(got) == 2


def test_refusals_show_neither_the_key_nor_control_codes(monkeypatch):
    """A server that repeats the key in its 401 put it on the terminal, and its escapes, too."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRET")
    said = "HTTP/1.1 {} X\r\nContent-Length: 23\r\n\r\nbad sk-SECRET \x1b[2Jowned"
    for status in (401, 400):
        with served(lambda *_, status=status: ("raw", said.format(status))) as (url, _):
            try:
                (answer,) = ChatEndpoint(url, "m", concurrency=1)(chats(1))
                text = answer.reason
            except ConnectionError as failure:
                text = str(failure)
        assert "SECRET" not in text and "\x1b" not in text and "bad *** \\x1b[2Jowned" in text


@pytest.mark.parametrize("count", [1e999, float("nan"), -4, "many", None, [3]])
def test_a_count_that_is_none_is_taken_as_unknown(count):
    """1e999 prompt tokens ended a run with a traceback of OverflowError."""
    usage = {"prompt_tokens": count, "completion_tokens": 2}
    response = {"choices": [{"text": "3", "finish_reason": "stop"}], "usage": usage}
    endpoint = CompletionEndpoint("http://localhost", "m")
    expected = Completion((Choice("3", "stop"),), 0, 2)
    assert endpoint._parse_answer(response) == expected


def test_a_filtered_completion_sets_its_prompt_aside():
    """Text null with a finish reason was counted as a failure of the server, and ended the run.

    Another sample may get through, so it is asked for.
    """
    filtered = {"choices": [{"text": None, "finish_reason": "content_filter"}]}
    endpoint = CompletionEndpoint(
        "http://localhost", "m", attempts=2, concurrency=1, max_failures=1, sleep=lambda _: None
    )
    answers = iter([filtered, filtered, filtered, {"choices": [{"text": "3"}]}])
    endpoint.client.post = lambda body: next(answers)
    failed, completion = endpoint([CompletionRequest({"prompt": x}) for x in "ab"])
    assert failed == RequestFailed("no text in the answer: content_filter (2 attempts)")
    assert completion.choices[0].text == "3"


def test_long_pauses_are_told(caplog):
    with served(lambda *_: (429, {"Retry-After": "1e9"}, "")) as (url, _):
        complete = ChatEndpoint(url, "m", attempts=2, concurrency=1, sleep=lambda _: None)
        list(complete(chats(1)))
    assert "asks to wait 600 s (HTTP 429)" in caplog.text
