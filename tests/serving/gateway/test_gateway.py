"""OpenAI's client against a gateway of the packaged model."""

import json
from collections.abc import Iterator
from typing import Any
from urllib import request

import openai
import pytest

from reason_decode.core.solutions import Trace
from reason_decode.tiny import Tiny
from tests.gateway_server import PUZZLE, Served, served, tiny_backend

MESSAGES: Any = [{"role": "user", "content": PUZZLE}]


@pytest.fixture(scope="module")
def gateway(tiny: Tiny) -> Iterator[Served]:
    with served(tiny_backend(tiny)) as found:
        yield found


def completed(gateway: Served, model: str, **options: Any) -> Any:
    given: dict[str, Any] = {"prompt": PUZZLE, "max_tokens": 40, "seed": 1} | options
    return gateway.client.completions.create(model=model, **given)


def chatted(gateway: Served, model: str, **options: Any) -> Any:
    given: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 16, "seed": 1} | options
    return gateway.client.chat.completions.create(model=model, **given)


def get(url: str) -> bytes:
    with request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_lists_the_model_with_its_strategies(gateway: Served):
    names = [model.id for model in gateway.client.models.list()]
    assert names == ["tiny", "vote-8/tiny", "best-of-8/tiny", "step-search-4x4/tiny"]
    assert gateway.client.models.retrieve("vote-8/tiny").id == "vote-8/tiny"


@pytest.mark.parametrize(
    ("model", "strategy"),
    [
        ("best-of-4/tiny", "BestOfN"),
        ("vote-4/tiny", "SelfConsistency"),
        ("weighted-vote-4/tiny", "SelfConsistency"),
        ("step-search-2x2/tiny", "StepSearch"),
        ("particle-filter-3/tiny", "ParticleFilter"),
    ],
)
def test_the_model_s_name_carries_the_strategy(gateway: Served, model: str, strategy: str):
    answer = completed(gateway, model)
    trace = Trace.from_dict(json.loads(get(f"{gateway.url}/v1/traces/{answer.id}"))["traces"][0])
    assert (answer.model, trace.strategy) == (model, strategy)
    assert answer.choices[0].text == trace.best.text
    assert (trace.best.total is None) == (model == "vote-4/tiny")
    usage = answer.usage
    assert usage.completion_tokens == trace.best.tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    cost = usage.reason_decode
    assert cost["generator"]["sampled"] > usage.completion_tokens
    assert (cost["scorer"]["read"] > 0) == (model != "vote-4/tiny")
    page = get(f"{gateway.url}/v1/traces/{answer.id}/page").decode()
    assert answer.id in page and "Content-Security-Policy" in page


def test_plain_decoding_equals_generate(gateway: Served, tiny: Tiny):
    greedy = completed(gateway, "tiny", temperature=0, max_tokens=96)
    inputs = tiny.tokenizer([PUZZLE], return_tensors="pt")
    ids = tiny.model.generate(**inputs, do_sample=False, max_new_tokens=96)
    width = inputs["input_ids"].shape[1]
    text = tiny.tokenizer.decode(ids[0, width:], skip_special_tokens=True)
    assert (greedy.choices[0].text, greedy.choices[0].finish_reason) == (text, "stop")
    assert greedy.usage.prompt_tokens == width
    assert greedy.usage.completion_tokens == len(ids[0]) - width
    short = completed(gateway, "tiny", temperature=0, max_tokens=3)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    with pytest.raises(openai.NotFoundError, match="no trace of it is kept"):
        gateway.client.get(f"/traces/{greedy.id}", cast_to=object)


@pytest.mark.parametrize("model", ["tiny", "best-of-4/tiny"])
def test_seeds_decide_the_answer(gateway: Served, model: str):
    texts = [chatted(gateway, model, seed=seed).choices[0].message.content for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]
    assert chatted(gateway, model, seed=None).choices[0].message.content


@pytest.mark.parametrize("model", ["tiny", "best-of-4/tiny", "step-search-2x3/tiny"])
def test_n_answers_are_the_best_ones(gateway: Served, model: str):
    answer = chatted(gateway, model, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    if model != "tiny":
        scores = [choice.reason_decode["score"] for choice in answer.choices]
        assert scores == sorted(scores, reverse=True)
    whole = answer.usage
    assert whole.completion_tokens <= whole.reason_decode["generator"]["sampled"]


def test_several_prompts_are_answered_in_order(gateway: Served):
    other = "((1 + 2) * (3 - 4)) =\n"
    answer = completed(gateway, "best-of-2/tiny", prompt=[PUZZLE, other], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    traces = json.loads(get(f"{gateway.url}/v1/traces/{answer.id}"))["traces"]
    assert [trace["prompt"] for trace in traces] == [PUZZLE, other]
    assert answer.choices[2].text == Trace.from_dict(traces[1]).best.text


@pytest.mark.parametrize("model", ["tiny", "step-search-2/tiny", "best-of-4/tiny", "vote-4/tiny"])
@pytest.mark.parametrize("stop", [None, [" = 24"]])
def test_a_stream_says_what_the_whole_answer_says(gateway: Served, model: str, stop: Any):
    whole = completed(gateway, model, stop=stop)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(completed(gateway, model, stop=stop, **options))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert {chunk.model for chunk in chunks} == {model}
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    if model in ("tiny", "step-search-2/tiny") and stop is None:
        assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].text]) > 1


def test_a_chat_stream_opens_with_the_role(gateway: Served):
    whole = chatted(gateway, "best-of-2/tiny", n=2)
    chunks = list(chatted(gateway, "best-of-2/tiny", n=2, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    for k in range(2):
        deltas = [c.choices[0].delta.content or "" for c in chunks if c.choices[0].index == k]
        assert "".join(deltas) == whole.choices[k].message.content
    assert all(chunk.usage is None for chunk in chunks)


def test_an_answer_ends_before_a_stop_text(gateway: Served):
    whole = completed(gateway, "tiny", temperature=0).choices[0].text
    answer = completed(gateway, "tiny", temperature=0, stop=["never", "= "])
    assert answer.choices[0].text == whole.partition("= ")[0]
    assert answer.choices[0].finish_reason == "stop"


def test_options_of_the_strategy_are_given_in_the_body(gateway: Served):
    given = {"strategy": "step-search", "n": 2, "beam_width": 2, "max_tokens": 90}
    answer = completed(gateway, "tiny", extra_body={"reason_decode": given})
    assert answer.usage.reason_decode["generator"]["sampled"] <= 90
    voted = {"vote_weighting": "1+s", "early_stop": "decided"}
    answer = completed(gateway, "vote-8/tiny", max_tokens=96, extra_body={"reason_decode": voted})
    assert answer.choices[0].reason_decode["score"] >= 0
    assert 0 < answer.choices[0].reason_decode["agreement"] <= 1


def test_the_conversation_is_what_the_scorer_is_asked_about(gateway: Served):
    turns: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": PUZZLE}]},
    ]
    answer = chatted(gateway, "best-of-2/tiny", messages=turns)
    record = json.loads(get(f"{gateway.url}/v1/traces/{answer.id}"))["traces"][0]
    assert record["prompt"] == PUZZLE
    assert [turn["role"] for turn in record["messages"]] == ["system", "user"]


def test_health_and_metrics(gateway: Served):
    completed(gateway, "best-of-2/tiny")
    assert json.loads(get(f"{gateway.url}/health")) == {"status": "ok"}
    text = get(f"{gateway.url}/metrics").decode()
    assert 'reason_decode_requests_total{status="200",strategy="best-of-n"}' in text
    assert 'reason_decode_tokens_total{role="sampled"}' in text
    assert "reason_decode_waiting 0.0" in text
