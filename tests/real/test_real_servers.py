"""Strategies over a real vLLM server with the packaged generator.

``REASON_DECODE_VLLM`` is the address of a server of it under the name ``tiny``, or the Python of an
environment with vLLM, which starts one: the packages of vLLM's builds do not go with ours.
"""

import os
from collections.abc import Iterator
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
from reason_decode.tiny import WEIGHTS, Tiny
from tests.server_process import vllm
from tests.serving.test_served_strategies import LONG, PROMPTS, decoded
from tests.tolerance import tolerance

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    where = os.environ.get("REASON_DECODE_VLLM")
    if where is None:
        pytest.skip("no vLLM: set REASON_DECODE_VLLM to an address, or to the Python that has it")
    if where.startswith("http"):
        yield where
        return
    log = tmp_path_factory.mktemp("vllm") / "log"
    with vllm(where, WEIGHTS / "base", "tiny", log, "--enable-prompt-tokens-details") as url:
        yield f"{url}/v1"


@pytest.mark.parametrize(
    "name",
    ["best of n", "vote", "step search", "particles", "lookahead", "rationales", "explicit"],
)
def test_vllm_gives_the_traces_of_the_model_in_this_process(url: str, tiny: Tiny, name: str):
    own: dict[str, Any] = {"tokenizer": tiny.tokenizer, "n": 1}
    strategy = {
        "best of n": BestOfN(LONG, **own),
        "vote": SelfConsistency(**own),
        "step search": StepSearch(LONG, **own),
        "particles": ParticleFilter(LONG, **own),
        "lookahead": StepSearch(LONG, **own, lookahead=2),
        "rationales": RationaleGuided(tiny.rationalyst, **own, max_steps=2),
        "explicit": RationaleGuided(tiny.rationalyst, **own, supervision="explicit", max_steps=2),
    }[name]
    there: Any = ServedModel(url, "tiny", tiny.tokenizer)
    ours, theirs = (decoded(x, strategy, PROMPTS, max_new_tokens=80) for x in (tiny.model, there))
    assert theirs.traces == ours.traces
    assert theirs.cost is not None and ours.cost is not None
    assert theirs.cost.sampled == ours.cost.sampled


def test_vllm_samples_steps_and_repeats_them(url: str, tiny: Tiny):
    there: Any = ServedModel(url, "tiny", tiny.tokenizer)
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=2)
    options: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "max_new_tokens": 80}
    torch.manual_seed(0)
    out = decoded(there, search, PROMPTS, **options)
    assert out.traces is not None and out.cost is not None
    assert all(trace.best.finished for trace in out.traces)
    assert len({step.text for step in out.traces[0].rounds[0]}) > 1
    torch.manual_seed(0)
    again = decoded(there, search, PROMPTS[:1], **options)
    assert again.traces is not None and again.traces[0].rounds[0] == out.traces[0].rounds[0]


@pytest.mark.numeric
def test_confidence_over_vllm_is_that_of_its_log_probabilities(url: str, tiny: Tiny):
    """One candidate by greedy decoding has the same tokens here and there, and so their scores."""
    there: Any = ServedModel(url, "tiny", tiny.tokenizer)
    for measure in ("logprob", "tail"):
        best = BestOfN(ConfidenceScorer(measure), tokenizer=tiny.tokenizer, n=1)
        ours, theirs = (decoded(x, best, PROMPTS, max_new_tokens=80) for x in (tiny.model, there))
        assert ours.traces is not None and theirs.traces is not None
        for mine, yours in zip(ours.traces, theirs.traces, strict=True):
            assert yours.best.text == mine.best.text
            assert mine.best.total is not None and yours.best.total is not None
            # Log-probabilities of some nats, by matrix products in another order.
            assert abs(yours.best.total - mine.best.total) <= tolerance(10_176, 10.0)
