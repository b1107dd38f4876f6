"""The parts of a gateway without HTTP: the queue, texts of a stream, traces, keys, bodies."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from reason_decode.core.gateway_options import GatewayAccess, GatewayLimits
from reason_decode.serving.gateway.keys import ApiKeys, load_api_keys
from reason_decode.serving.gateway.model_names import parse_model_name, parse_strategy_name
from reason_decode.serving.gateway.requests import ChatRequest
from reason_decode.serving.gateway.server import is_loopback, listen, local_hosts
from reason_decode.serving.gateway.streaming import DeltaStreamer, StopCutter, cut_at_stop
from reason_decode.serving.gateway.traces import TraceStore
from reason_decode.serving.gateway.worker import Job, QueueFull, Stopping, Worker
from tests.chat_templates import tokenizer

BYTES = tokenizer(None)


def blocked(worker: Worker) -> tuple[threading.Event, Job]:
    """A job that runs until its event is set."""
    started, free = threading.Event(), threading.Event()

    def call(job: Job) -> str:
        started.set()
        while not free.wait(0.005):
            job.check()
        return "done"

    job = worker.submit(call)
    assert started.wait(10)
    return free, job


def test_jobs_run_one_after_another():
    worker, order = Worker(max_waiting=9), []
    free, first = blocked(worker)
    others = [worker.submit(lambda job, k=k: order.append(k)) for k in range(3)]
    assert (worker.running, worker.waiting, order) == (1, 3, [])
    free.set()
    for job in (first, *others):
        job.future.result(10)
    assert order == [0, 1, 2]


def test_no_more_jobs_wait_than_may():
    worker = Worker(max_waiting=1)
    free, first = blocked(worker)
    second = worker.submit(lambda job: 2)
    with pytest.raises(QueueFull):
        worker.submit(lambda job: 3)
    second.cancel()  # its place is free again
    third = worker.submit(lambda job: 3)
    free.set()
    assert (first.future.result(10), third.future.result(10)) == ("done", 3)
    assert second.future.cancelled()


def test_a_stopped_worker_ends_what_runs():
    worker = Worker(max_waiting=9)
    free, running = blocked(worker)
    waiting = worker.submit(lambda job: None)
    worker.drain()
    assert isinstance(waiting.future.exception(10), Stopping)
    with pytest.raises(Stopping):
        worker.submit(lambda job: None)
    assert not running.future.done()
    free.set()
    assert running.future.result(10) == "done"


def test_a_closed_worker_cancels_what_runs():
    worker = Worker(max_waiting=9)
    _, running = blocked(worker)
    worker.close()
    assert type(running.future.exception(10)).__name__ == "Cancelled"


@example(";.;", [".", ";.;"])  # the first of them ends before the second
@given(st.text("ab;.", max_size=30), st.lists(st.text("ab;.", min_size=1, max_size=4), max_size=3))
def test_a_stream_says_no_more_than_the_text_up_to_its_stop(text: str, stop: list[str]):
    cutter = StopCutter(stop)
    whole = cut_at_stop(text, stop)
    sent = ""
    for letter in text:
        sent += cutter.add(letter)
        assert whole.startswith(sent)
    assert cutter.sent == len(sent) and sent + cutter.rest(whole) == whole


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.integers(1, 5))
def test_deltas_make_up_the_text_whatever_a_piece_is(text: str, size: int):
    tokens = BYTES
    ids, deltas = tokens(text, add_special_tokens=False)["input_ids"], []
    streamer = DeltaStreamer(tokens, deltas.append)
    streamer.put(torch.tensor([[1, 2, 3]]))  # the prompt
    for k in range(0, len(ids), size):
        streamer.put(torch.tensor(ids[k : k + size], dtype=torch.long))
    streamer.end()
    whole = tokens.decode(ids, skip_special_tokens=True)
    assert whole.startswith("".join(deltas))
    if "\ufffd" not in whole:
        assert "".join(deltas) == whole


def test_traces_are_dropped_when_there_are_too_many():
    store = TraceStore(max_entries=3, max_bytes=25)
    for k in range(5):
        store.add(str(k), "", {"k": k})
    assert [k for k in range(5) if store.get(str(k), "")] == [2, 3, 4]
    store.add("wide", "", "x" * 12)
    assert [k for k in range(5) if store.get(str(k), "")] == [4] and len(store) == 2
    store.add("too wide", "", "x" * 99)
    assert len(store) == 0


def test_keys_come_from_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEYS", " one , two\n")
    (tmp_path / "keys").write_text("three\n\n four\n")
    for access, right, wrong in (
        (GatewayAccess(client_key_env="KEYS"), ("one", "two"), ("three", "", "one , two")),
        (GatewayAccess(client_key_file=str(tmp_path / "keys")), ("three", "four"), ("one", "")),
    ):
        keys = load_api_keys(access)
        assert keys is not None
        assert all(keys.owner_of(f"Bearer {key}") for key in right)
        assert not any(keys.owner_of(f"Bearer {key}") for key in wrong)
        assert keys.owner_of(None) is None and keys.owner_of(f"Basic {right[0]}") is None
    assert load_api_keys(GatewayAccess()) is None


def test_unusable_keys_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEYS", "sec ret")
    with pytest.raises(ValueError, match="no API key has") as caught:
        load_api_keys(GatewayAccess(client_key_env="KEYS"))
    assert "sec ret" not in str(caught.value)
    with pytest.raises(ValueError, match="got no key in the environment variable NONE"):
        load_api_keys(GatewayAccess(client_key_env="NONE"))
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="is no text"):
        load_api_keys(GatewayAccess(client_key_file=str(tmp_path / "keys")))
    assert "secret" not in repr(ApiKeys(["secret"]).__dict__)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("m", {}),
        ("vote-16/m", {"strategy": "self-consistency", "n": 16}),
        ("weighted-vote-2/m", {"strategy": "self-consistency", "n": 2, "weighted": True}),
        ("step-search-4/m", {"strategy": "step-search", "n": 4}),
        ("best-of-4x2/m", None),
        ("best-of-08/m", None),
        ("best-of-4/n", None),
        ("/m", None),
        ("m/", None),
    ],
)
def test_model_names_are_taken_apart(name: str, found: Any):
    assert parse_model_name(name, "m") == found
    assert parse_model_name(name.replace("m", "you/m"), "you/m") == found
    assert parse_strategy_name("best-of-" + "9" * 99) is None


def test_a_chat_that_a_client_repeats_is_read():
    """OpenAI's client writes the fields of its answers that are empty as null."""
    turn = {"role": "assistant", "content": "5", "refusal": None, "tool_calls": None}
    body = {"model": "m", "user": "me", "messages": [{"role": "user", "content": "2+3?"}, turn]}
    made = ChatRequest.model_validate(body | {"tools": [], "presence_penalty": 0.0})
    assert made.messages[1] == {"role": "assistant", "content": "5"}
    both = ChatRequest.model_validate(body | {"max_tokens": 3, "max_completion_tokens": 4})
    assert both.token_limit == 4
    with pytest.raises(ValidationError):
        ChatRequest.model_validate(body | {"temperature": float("nan")})


def test_addresses_of_this_machine_are_known():
    assert is_loopback("::1") and not is_loopback("example.org")
    assert "localhost" in local_hosts("127.0.0.1") and not local_hosts("0.0.0.0")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1 port {port}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("field", ["max_candidates", "max_waiting", "max_trace_bytes"])
def test_limits_are_checked(field: str):
    with pytest.raises(ValueError, match=f"got {field}=-1; need at least"):
        GatewayLimits(**{field: -1})
    with pytest.raises(ValueError, match="give one"):
        GatewayAccess(client_key_env="A", client_key_file="b")
