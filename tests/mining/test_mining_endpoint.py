import time
from typing import Any

import pytest

from reason_decode.mining import (
    AnnotatedDocument,
    Document,
    Dropped,
    Endpoint,
    RequestFailed,
    extract,
)
from tests.server import served


def chats(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": str(k)}] for k in range(count)]


def test_answers_come_in_order_whatever_order_the_server_has_them_in(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    under_way, most = [0], [0]

    def slow(chat: str, _: int) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.03 if int(chat) % 3 == 0 else 0.001)
        under_way[0] -= 1

    with served(slow) as (url, got):
        complete = Endpoint(
            url + "/", "m", api_key_env="MY_KEY", concurrency=4, options={"seed": 3}
        )
        assert list(complete(chats(20))) == [f"re: {k}" for k in range(20)]
    assert 1 < most[0] <= 4
    assert {x["path"] for x in got} == {"/v1/chat/completions"}
    assert {(x["key"], x["model"], x["seed"]) for x in got} == {("Bearer secret", "m", 3)}


@pytest.mark.parametrize("fault", [(500, {}, ""), (429, {}, ""), "drop", "rubbish", "short"])
def test_what_may_pass_is_tried_again_with_growing_pauses(fault):
    slept: list[float] = []
    with served(lambda chat, count: fault if count < 4 else None) as (url, got):
        complete = Endpoint(url, "m", concurrency=1, sleep=slept.append)
        assert list(complete(chats(1))) == ["re: 0"]
    assert len(got) == 4 and len(slept) == 3
    assert all(0.25 * 2**k <= pause <= 0.5 * 2**k for k, pause in enumerate(slept))


def test_retry_after_is_honoured_in_both_its_forms_and_holds_all_back():
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    for value, low, high in (("7", 7, 7), (soon, 27, 31)):
        slept: list[float] = []
        fault = (429, {"Retry-After": value}, "")
        with served(lambda chat, count, fault=fault: fault if count == 1 else None) as (url, _):
            complete = Endpoint(url, "m", concurrency=1, sleep=slept.append)
            assert list(complete(chats(1))) == ["re: 0"]
        # The pause itself, and the place in time that nobody may go before.
        assert len(slept) == 2 and all(low - 0.5 <= pause <= high for pause in slept)


def test_requests_keep_to_a_rate():
    slept: list[float] = []
    with served(lambda *_: None) as (url, _):
        complete = Endpoint(url, "m", concurrency=1, requests_per_minute=60, sleep=slept.append)
        assert len(list(complete(chats(4)))) == 4
    assert len(slept) == 3 and all(k < pause <= k + 1 for k, pause in enumerate(slept))


def test_a_chat_that_the_server_cannot_take_costs_the_others_nothing():
    def behave(chat: str, _: int) -> Any:
        faults = {"1": (400, {}, ""), "2": (200, {}, "length"), "3": (503, {}, "")}
        return faults.get(chat)

    with served(behave) as (url, got):
        complete = Endpoint(url, "m", attempts=2, sleep=lambda _: None)
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
def test_what_every_chat_would_meet_stops_the_run_and_says_what_to_do(status, advice):
    """On a busy machine the chats that were asked for ahead went out behind the refused one."""
    headers = {"Location": "http://127.0.0.1:1/"} if status == 307 else {}
    with served(lambda *_: (status, headers, "")) as (url, got):
        with pytest.raises(ConnectionError, match=advice):
            list(Endpoint(url, "m", api_key_env="MY_KEY", concurrency=1)(chats(50)))
    assert len(got) == 1


def test_a_server_that_stays_down_ends_the_run_and_nothing_counts_as_done():
    with served(lambda *_: "drop") as (url, _):
        complete = Endpoint(url, "m", attempts=1, give_up=3, concurrency=1, sleep=lambda _: None)
        found = []
        with pytest.raises(ConnectionError, match="3 requests in a row .* run the same command"):
            for result in extract([Document(str(k), "s", "text") for k in range(9)], complete):
                found.append(result)
    assert all(isinstance(x, Dropped) and x.retryable for x in found)


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="must begin with http"):
        Endpoint("localhost:8000", "m")
    with pytest.raises(ValueError, match="concurrency=0; it must be positive"):
        Endpoint("http://localhost", "m", concurrency=0)


def test_extract_sets_malformed_answers_aside_and_keeps_the_order():
    answers = {"a": "a<BOT>r<EOT>b", "b": "b<BOT>open", "c": "c", "d": "d<EOT>"}
    texts = ["a", "x<BOT>", "b", "c", "d", "<EOT>"]
    documents = [Document(str(k), "s", text) for k, text in enumerate(texts)]
    found = list(extract(documents, lambda asked: (answers[chat[-1]["content"]] for chat in asked)))
    assert isinstance(found[0], AnnotatedDocument) and found[0].document == documents[0]
    assert [x.reason for x in found[1:] if isinstance(x, Dropped)] == [
        "the text already has such tags",
        "malformed tags: 1 never closed, 0 never opened",
        "no rationale in the text",
        "malformed tags: 0 never closed, 1 never opened",
        "the text already has such tags",
    ]
