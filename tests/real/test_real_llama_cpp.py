"""Strategies over llama.cpp's own server with SmolLM2, 4 bits a weight."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode import (
    BestOfN,
    ConfidenceScorer,
    ParticleFilter,
    RationaleGuided,
    SelfConsistency,
    StepSearch,
)
from reason_decode.serving import ServedModel
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer
from tests.real.conftest import GGUF, RealModel
from tests.server_process import server_process

pytestmark = pytest.mark.real
CHAT = [{"role": "user", "content": "What is 12 + 30? Think step by step."}]
LONG = TableScorer(lambda step: 1 / (1 + len(step)))


@pytest.fixture(scope="module")
def url(gguf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("no llama.cpp: pip install 'reason-decode[real]'")
    program = str(Path(__file__).parent / "llama_cpp_server.py")
    model = str(gguf_folder / GGUF)

    def command(port: str) -> list[str]:
        return [sys.executable, program, model, port]

    log = tmp_path_factory.mktemp("llama") / "log"
    with server_process(command, log, os.environ, patience=300) as url:
        yield f"{url}/v1"


def test_it_says_what_it_is_and_gives_ids_and_log_probabilities(url: str, real: RealModel):
    model: Any = ServedModel(url, "smollm2", real.tokenizer)
    assert model.server.takes_ids and model.server.takes_n
    best = BestOfN(ConfidenceScorer(), tokenizer=real.tokenizer, n=3)
    options = {"max_new_tokens": 12, "do_sample": True, "temperature": 1.0}
    options |= {"custom_generate": best, "return_dict_in_generate": True}
    torch.manual_seed(0)
    out = model.generate(**real.inputs(CHAT), **options)
    (trace,) = out.traces
    totals = [candidate.total for candidate in trace.candidates]
    assert len({candidate.text for candidate in trace.candidates}) > 1 and max(totals) < 0
    # All three candidates' tokens are counted, of which the server's own count has one's.
    assert out.cost.sampled > 12
    torch.manual_seed(0)
    again = model.generate(**real.inputs(CHAT), **options)
    assert torch.equal(again.sequences, out.sequences)


@pytest.mark.parametrize("name", ["best of n", "vote", "step search", "particles", "rationales"])
def test_one_candidate_is_the_servers_own_greedy_text(
    url: str, real: RealModel, tiny: Tiny, name: str
):
    own: dict[str, Any] = {"tokenizer": real.tokenizer, "n": 1}
    strategy = {
        "best of n": BestOfN(LONG, **own),
        "vote": SelfConsistency(**own),
        "step search": StepSearch(LONG, **own),
        "particles": ParticleFilter(LONG, **own),
        "rationales": RationaleGuided(tiny.rationalyst, **own, max_steps=2),
    }[name]
    model: Any = ServedModel(url, "smollm2", real.tokenizer)
    inputs = real.inputs(CHAT)
    plain = model.generate(**inputs, max_new_tokens=16)
    found = model.generate(**inputs, max_new_tokens=16, custom_generate=strategy)
    width = min(plain.shape[1], found.shape[1])
    assert torch.equal(plain[0, :width], found[0, :width])


def test_best_of_n_over_its_chats(url: str, real: RealModel):
    model: Any = ServedModel(url, "smollm2", real.tokenizer, server="chat")
    best = BestOfN(LONG, tokenizer=real.tokenizer, n=2)
    response = best.chat(model, CHAT, max_new_tokens=16, temperature=1.0)
    assert response.text and len(response.trace.candidates) == 2
