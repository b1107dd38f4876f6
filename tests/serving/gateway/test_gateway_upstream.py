"""A gateway before a model at another server, whose scorers run in the gateway."""

import http.client
import json
import threading
import time
from contextlib import closing
from typing import Any

import openai
import pytest

from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.core.options import EngineOptions, ScorerOptions
from reason_decode.serving.gateway import load_upstream_backend
from reason_decode.tiny import Tiny
from tests.completion_server import completions, greedily
from tests.gateway_server import PUZZLE, served, tiny_backend


def upstream(url: str, **options: Any) -> Any:
    engine = EngineOptions(engine=url, attempts=1, concurrency=2, **options)
    return load_upstream_backend(
        "tiny", GatewayOptions(scoring=ScorerOptions(scorer="tiny")), engine
    )


def test_a_model_at_a_server_answers_as_the_model_here(tiny: Tiny):
    asked: dict[str, Any] = {"prompt": PUZZLE, "max_tokens": 48, "temperature": 0}
    with completions(greedily(tiny.model), tiny.tokenizer) as server:
        with served(upstream(server.url)) as there, served(tiny_backend(tiny)) as here:
            for stop in (None, [" = "]):
                ours, theirs = (
                    x.client.completions.create(model="tiny", stop=stop, **asked)
                    for x in (here, there)
                )
                assert theirs.choices[0].text == ours.choices[0].text
                assert theirs.choices[0].finish_reason == ours.choices[0].finish_reason


def test_strategies_sample_there_and_choose_here(tiny: Tiny):
    texts = ["10 - 4 = 6 (left: 5 6 6)", "10 - 4 = 7 (left: 5 6 7)"]
    ids = [[*tiny.tokenizer(x)["input_ids"][1:], tiny.tokenizer.eos_token_id] for x in texts]

    def alternate(body: dict[str, Any], prompt: list[int], index: int) -> list[int]:
        return ids[index % 2]

    with completions(alternate, tiny.tokenizer) as server, served(upstream(server.url)) as found:
        answer = found.client.completions.create(
            model="best-of-4/tiny", prompt=PUZZLE, max_tokens=48, n=4
        )
        scores = [x.reason_decode["score"] for x in answer.choices]  # pyright: ignore[reportAttributeAccessIssue]
        assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
        cost: Any = answer.usage.reason_decode  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
        assert cost["generator"]["sampled"] == server.sampled and cost["scorer"]["read"] > 0
        assert answer.choices[0].text.startswith("10 - 4 = 6")


def test_a_server_that_is_down_or_refuses_is_an_error_in_words(tiny: Tiny):
    asked: dict[str, Any] = {"model": "tiny", "prompt": PUZZLE, "max_tokens": 4}
    for status, said in ((503, "a server that this gateway asks"), (400, "HTTP 400")):
        with completions(greedily(tiny.model), tiny.tokenizer, behave=lambda k, s=status: s) as at:
            with served(upstream(at.url)) as found, pytest.raises(openai.APIError, match=said):
                found.client.completions.create(**asked)


def test_a_client_that_leaves_ends_the_requests_to_the_server(tiny: Tiny):
    free, started = threading.Event(), threading.Event()

    def slowly(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        started.set()
        free.wait(30)
        end: Any = tiny.tokenizer.eos_token_id
        return [end]

    with completions(slowly, tiny.tokenizer) as server, served(upstream(server.url)) as found:
        host = found.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
            body = json.dumps({"model": "vote-2/tiny", "prompt": "a", "max_tokens": 4})
            connection.request(
                "POST", "/v1/completions", body, {"Content-Type": "application/json"}
            )
            assert started.wait(20)
        last = time.monotonic() + 20
        while found.gateway.worker.running:
            assert time.monotonic() < last
            time.sleep(0.05)
        free.set()
