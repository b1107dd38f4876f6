"""``VLLMModel`` over an engine of ours in the form of ``vllm.LLM``; tests/real runs vLLM's own."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from reason_decode import BestOfN, ConfidenceScorer, StepSearch, StepSplitter
from reason_decode.core.options import EngineOptions
from reason_decode.serving import VLLMModel
from reason_decode.tiny import Tiny
from tests.completion_server import greedily
from tests.fakes import TableScorer
from tests.serving.test_served_strategies import PROMPTS, decoded


class Engine:
    """Greedy decoding of the packaged model by the calls of ``vllm.LLM``."""

    def __init__(self, tiny: Tiny) -> None:
        self.tokenizer, self.go_on = tiny.tokenizer, greedily(tiny.model, 80)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(model="tiny"))
        self.calls: list[list[Any]] = []

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def generate(self, prompts: Any, params: Any, use_tqdm: bool) -> list[Any]:
        self.calls.append(params)
        return [
            self._output(x["prompt_token_ids"], p) for x, p in zip(prompts, params, strict=True)
        ]

    def _output(self, ids: list[int], params: Any) -> Any:
        new = self.go_on({"temperature": 0.0}, ids, 0)[: params.max_tokens]
        for k in range(1, len(new) + 1):
            text = self.tokenizer.decode(new[:k])
            if any(stop in text for stop in getattr(params, "stop", ())):
                new = new[:k]
                break
        text = self.tokenizer.decode(new)
        stopped = any(stop in text for stop in getattr(params, "stop", ()))
        end = "stop" if stopped or new[-1] == self.tokenizer.eos_token_id else "length"
        stats = [{x: SimpleNamespace(logprob=-0.5), 0: SimpleNamespace(logprob=-1.5)} for x in new]
        one = SimpleNamespace(text=text, finish_reason=end, token_ids=new, logprobs=stats)
        n = getattr(params, "n", 1)
        return SimpleNamespace(outputs=[one] * n, prompt_token_ids=ids, num_cached_tokens=0)


@pytest.fixture
def engine(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
    return Engine(tiny)


@pytest.mark.parametrize("pattern", [None, r"\n+|= "])
def test_a_step_search_has_the_traces_of_transformers(
    engine: Engine, tiny: Tiny, pattern: str | None
):
    """Without a stop string the boundary is looked for in pieces of 32 tokens."""
    scorer = TableScorer(lambda step: 1 / (1 + len(step)))
    if pattern is not None:
        scorer.splitter = StepSplitter(pattern=pattern)
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=1)
    model: Any = VLLMModel(engine)
    ours, theirs = (decoded(x, search, PROMPTS, max_new_tokens=48) for x in (tiny.model, model))
    assert theirs.traces == ours.traces


def test_all_prompts_of_a_round_are_one_call(engine: Engine, tiny: Tiny):
    model: Any = VLLMModel(engine, seeds=False)
    best = BestOfN(ConfidenceScorer(), tokenizer=tiny.tokenizer, n=3)
    out = decoded(model, best, PROMPTS, do_sample=True, temperature=0.7)
    (call,) = engine.calls
    assert [(x.n, x.temperature, x.logprobs) for x in call] == [(3, 0.7, 20)] * 2
    assert out.traces is not None
    assert out.traces[0].best.total == pytest.approx(-0.5)


def test_without_vllm_the_command_is_said(tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModuleNotFoundError, match="pip install vllm"):
        VLLMModel(Engine(tiny))


def test_options_of_servers_are_refused_beside_vllm():
    assert EngineOptions(engine="vllm", extra_body={"top_k": 5}).urls == ()
    with pytest.raises(ValueError, match="got server=vllm with engine=vllm, which asks no server"):
        EngineOptions(engine="vllm", server="vllm")
