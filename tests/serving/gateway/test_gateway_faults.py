"""Requests that are refused, requests whose clients leave, and a gateway that stops."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
import torch

from reason_decode.core.errors import ScoringError
from reason_decode.core.solutions import Cost
from reason_decode.serving.gateway import ApiKeys, Choice, Decoded
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer
from tests.gateway_server import PUZZLE, Served, served, tiny_backend


class SlowBackend:
    """Decodes until it is told to end; says a word at once."""

    chat = has_scorer = True
    threads = 1

    def __init__(self) -> None:
        self.free, self.cancelled = threading.Event(), threading.Event()
        self.started: list[Any] = []

    def prepare(self, request: Any) -> Any:
        return request

    def decode(self, prepared: Any, check: Any, emit: Any = None) -> Decoded:
        self.started.append(prepared)
        if emit is not None:
            emit("now")
        try:
            while not self.free.wait(0.01):
                check()
        except Exception:
            self.cancelled.set()
            raise
        return Decoded([[Choice("now done", "stop", 2)]], 1, Cost())


@pytest.fixture(scope="module")
def gateway(tiny: Tiny) -> Iterator[Served]:
    with served(tiny_backend(tiny), max_candidates=8, max_completion_tokens=50) as found:
        yield found


@pytest.fixture
def slow() -> Iterator[tuple[SlowBackend, Served]]:
    backend = SlowBackend()
    with served(backend, max_waiting=1) as found:
        yield backend, found
        backend.free.set()


def post(url: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a request to /v1/completions."""
    host = url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request("POST", "/v1/completions", data, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def wait_for(happened: Any) -> None:
    last = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < last
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"model": "other"}, 404, "got model='other'; served is tiny, and STRATEGY/tiny"),
        ({"model": "best-of-0/tiny"}, 404, "best-of-N"),
        ({"model": "best-of-9/tiny"}, 400, "got candidates=9; this gateway allows at most 8"),
        ({"model": "step-search-3x3/tiny"}, 400, "got candidates=9"),
        ({"model": "vote-4/tiny", "n": 2}, 400, "got n=2 answers of self-consistency"),
        ({"n": 9}, 400, "got n=9; this gateway allows at most 8"),
        ({"n": 0}, 400, "n: got 0; input should be greater than or equal to 1"),
        ({"n": 2, "temperature": 0}, 400, "got n=2 with temperature=0"),
        ({"model": "best-of-4/tiny", "temperature": 0}, 400, "needs a temperature above 0"),
        ({"temperature": 3}, 400, "temperature: got 3; input should be less than"),
        ({"temperature": "1"}, 400, "temperature: got '1'; input should be a valid number"),
        ({"max_tokens": 51}, 400, "got max_tokens=51; this gateway allows at most 50"),
        ({"temprature": 1}, 400, "temprature: there is no such field"),
        ({"stop": [""]}, 400, "need a text, or a list of up to 16"),
        ({"stop": "\ud800"}, 400, "half a character"),
        ({"prompt": [1, 2]}, 400, "need texts, not token ids"),
        ({"prompt": "\ud800"}, 400, "half a character"),
        ({"prompt": "1 " * 2000}, 400, "positions for it and the answer"),
        ({"prompt": ["a"] * 17}, 400, "got prompt=17; this gateway allows at most 16 prompts"),
        ({"logprobs": 2}, 400, "got logprobs=2; log-probabilities are not returned"),
        ({"tools": [{"type": "function"}]}, 400, "tool calls are not supported"),
        ({"response_format": {"type": "json_object"}}, 400, "structured outputs are not served"),
        ({"reason_decode": {"n": 4}}, 400, "without a strategy"),
        ({"reason_decode": {"beam": 4}}, 400, "reason_decode.beam: there is no such field"),
        ({"reason_decode": {"strategy": "best-of-n", "lookahead": 2}}, 400, "looks ahead"),
        (
            {"model": "best-of-4/tiny", "reason_decode": {"n": 5}},
            400,
            "got n=5 in reason_decode and n=4 in the model's name",
        ),
        ({"model": "rationale-guided-2/tiny"}, 400, "writes no rationales"),
        ({"prompt": None}, 400, "need a text or a list of texts"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_in_words(gateway: Served, changed: Any, status: int, said: str):
    got, body = post(gateway.url, {"model": "tiny", "prompt": "a", "max_tokens": 4} | changed)
    assert (got, body["error"]["type"]) == (
        status,
        "not_found_error" if status == 404 else "invalid_request_error",
    )
    assert said in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", {}, 400, "the body is no JSON"),
        (b"[]", {}, 400, "need a JSON object"),
        (b'{"model": "tiny"}', {}, 400, "prompt: the field is missing"),
        (b"x" * 2**21, {}, 413, "got a body of 2097152 bytes"),
        (b"{}", {"Host": "evil.example:80"}, 421, "got the host 'evil.example'"),
        (b"{}", {"Content_Type": "text/plain"}, 400, "need a JSON object"),
    ],
)
def test_refuses_what_is_no_request(
    gateway: Served, body: bytes, headers: dict[str, str], status: int, said: str
):
    got, answer = post(gateway.url, body, **headers)
    assert got == status and said in answer["error"]["message"]


def test_an_unknown_route_has_an_error_in_the_same_form(gateway: Served):
    with pytest.raises(openai.NotFoundError, match="got POST /v1/embeddings: Not Found"):
        gateway.client.embeddings.create(model="tiny", input="a")


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"role": "tool", "content": "4", "tool_call_id": "a"}, "tool calls are not supported"),
        ({"role": "cook", "content": "4"}, "got the role 'cook'"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "only parts of type text"),
        ({"role": "system", "content": "a"}, "without a user turn"),
    ],
)
def test_refuses_turns_in_words(gateway: Served, turn: Any, said: str):
    with pytest.raises(openai.BadRequestError, match=said):
        gateway.client.chat.completions.create(model="tiny", messages=[turn])


def test_a_request_brings_no_template(gateway: Served):
    """vLLM once let `chat_template_kwargs` replace the template by one of the client's."""
    with pytest.raises(openai.BadRequestError, match="got 'chat_template'"):
        gateway.client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "a"}],
            extra_body={"chat_template_kwargs": {"chat_template": True}},
        )


def test_text_models_say_that_they_answer_no_chats(tiny: Tiny):
    backend = tiny_backend(tiny)
    backend.tokenizer.chat_template = None
    backend.step_scorer = None
    with served(backend, name="you/model") as found:
        assert [x.id for x in found.client.models.list()] == ["you/model", "vote-8/you/model"]
        with pytest.raises(openai.BadRequestError, match="has no chat template; use /v1/comp"):
            found.client.chat.completions.create(
                model="you/model", messages=[{"role": "user", "content": "a"}]
            )
        for name in ("best-of-4", "weighted-vote-2"):
            with pytest.raises(openai.BadRequestError, match="needs a scorer"):
                found.client.completions.create(model=f"{name}/you/model", prompt="a")


def test_keys_are_asked_for_and_traces_belong_to_their_key(tiny: Tiny):
    with served(tiny_backend(tiny), keys=ApiKeys(["first-key", "second-key"])) as found:
        for key in ("none", "first-ke", "Ünicode"):
            body = {"model": "tiny", "prompt": "a"}
            status, answer = post(found.url, body, Authorization=f"Bearer {key}".encode())  # pyright: ignore[reportArgumentType]
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
            assert key not in json.dumps(answer)
        first = found.client.with_options(api_key="first-key")
        made = first.completions.create(model="best-of-2/tiny", prompt=PUZZLE, max_tokens=8)
        assert first.get(f"/traces/{made.id}", cast_to=object)
        with pytest.raises(openai.NotFoundError, match="no trace of it is kept"):
            found.client.with_options(api_key="second-key").get(
                f"/traces/{made.id}", cast_to=object
            )


def test_a_client_that_leaves_ends_the_decoding(slow: tuple[SlowBackend, Served]):
    backend, found = slow
    for stream in (False, True):
        backend.cancelled.clear()
        host = found.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
            body = json.dumps({"model": "tiny", "prompt": "a", "stream": stream})
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/completions", body, headers)
            if stream:
                assert b"now" in connection.getresponse().readline()
            wait_for(lambda: found.gateway.worker.running)
        assert backend.cancelled.wait(20)
        wait_for(lambda: not found.gateway.worker.running)
    metrics = found.gateway.metrics.text().decode()
    assert 'requests_total{status="499",strategy="sample"} 2.0' in metrics


def test_leaving_a_stream_of_the_model_ends_generate(tiny: Tiny):
    with served(tiny_backend(tiny)) as found:
        stream = found.client.completions.create(
            model="tiny", prompt=PUZZLE, max_tokens=400, stream=True, stop=["never"], temperature=2
        )
        next(iter(stream))
        stream.close()
        wait_for(lambda: not found.gateway.worker.running)
        again = found.client.completions.create(model="tiny", prompt=PUZZLE, max_tokens=2)
        assert again.usage is not None and again.usage.completion_tokens == 2


def test_more_requests_than_may_wait_are_refused(slow: tuple[SlowBackend, Served]):
    backend, found = slow
    answers: list[Any] = []

    def ask() -> None:
        answers.append(found.client.completions.create(model="tiny", prompt="a"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: found.gateway.worker.waiting == 1)
    with pytest.raises(openai.RateLimitError, match="while 1 wait for the model") as caught:
        found.client.completions.create(model="tiny", prompt="a")
    assert caught.value.response.headers["retry-after"] == "2"
    backend.free.set()
    for thread in threads:
        thread.join(20)
    assert [answer.choices[0].text for answer in answers] == ["now done"] * 2


def test_a_gateway_that_stops_ends_what_runs_and_refuses_the_rest(
    slow: tuple[SlowBackend, Served],
):
    backend, found = slow
    ended: list[Any] = []

    def ask() -> None:
        try:
            ended.append(found.client.completions.create(model="tiny", prompt="a").choices[0].text)
        except openai.InternalServerError as error:
            ended.append(error.status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: found.gateway.worker.waiting == 1)
    found.gateway.stop()
    wait_for(lambda: ended == [503])
    with pytest.raises(openai.InternalServerError, match="the gateway is stopping"):
        found.client.completions.create(model="tiny", prompt="a")
    backend.free.set()
    for thread in threads:
        thread.join(20)
    assert ended == [503, "now done"]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ScoringError("a secret"), 500, "the gateway's log says why"),
        (RuntimeError("a secret"), 500, "the gateway's log says why"),
        (ConnectionError("a secret"), 502, "does not answer"),
        (torch.OutOfMemoryError("a secret"), 503, "does not fit into memory"),
        (ValueError("a reason"), 400, "a reason"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_an_error_and_the_next_request_is_answered(
    tiny: Tiny, error: Exception, status: int, said: str, stream: bool
):
    broken = [True]

    def judge(step: str) -> float:
        if broken[0]:
            raise error
        return 0.5

    with served(tiny_backend(tiny, scorer=TableScorer(judge))) as found:
        given: Any = {"model": "best-of-2/tiny", "prompt": PUZZLE, "max_tokens": 2}
        with pytest.raises(openai.APIError, match=said) as caught:
            list(found.client.completions.create(**given, stream=stream))
        assert "secret" not in str(caught.value)
        counted = f'requests_total{{status="{status}"'
        wait_for(lambda: counted in found.gateway.metrics.text().decode())
        broken[0] = False
        assert found.client.completions.create(**given).choices[0].text
