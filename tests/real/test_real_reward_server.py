"""Scores of the packaged reward models over real vLLM servers.

``REASON_DECODE_VLLM_PRM`` is the address of a server of the packaged process reward model under the
name ``prm`` (``--model reason_decode/tiny/weights/prm --runner pooling``), with
``REASON_DECODE_VLLM_ORM`` of the outcome reward model under ``orm``.
"""

import os

import pytest
import torch

from reason_decode import BestOfN
from reason_decode.scorers import ServedOutcomeRewardModel, ServedProcessRewardModel
from reason_decode.tiny import WEIGHTS, Tiny

pytestmark = pytest.mark.real
PROMPTS = ["Make 24 from 4 5 6 10.\n"] * 2
SOLUTIONS = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 31 (left: 6 31)"],
    ["4 * 6 = 24 (left: 5 10 24)", "10 / 5 = 2 (left: 2 24)", "2 * 24 = 48 (left: 48)"],
]


def address(variable: str) -> str:
    url = os.environ.get(variable)
    if url is None:
        pytest.skip(f"no vLLM: set {variable} to the address of a server of the packaged model")
    return url


def test_pooling_gives_the_scores_of_the_model_in_this_process(tiny: Tiny):
    url = address("REASON_DECODE_VLLM_PRM")
    served = ServedProcessRewardModel.from_pretrained(WEIGHTS / "prm", url, "prm")
    here, there = (x.score(PROMPTS, SOLUTIONS) for x in (tiny.prm, served))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)


def test_a_strategy_chooses_by_a_served_reward_model(tiny: Tiny):
    url = address("REASON_DECODE_VLLM_PRM")
    served = ServedProcessRewardModel.from_pretrained(WEIGHTS / "prm", url, "prm")
    best = BestOfN(served, tokenizer=tiny.tokenizer, n=4)
    response = best.complete(tiny.model, PROMPTS[0], max_new_tokens=64)
    assert response.total == max(x.total for x in response.trace.candidates)


def test_classify_gives_the_scores_of_the_model_in_this_process(tiny: Tiny):
    url = address("REASON_DECODE_VLLM_ORM")
    served = ServedOutcomeRewardModel.from_pretrained(WEIGHTS / "orm", url, "orm")
    here, there = (x.score(PROMPTS, SOLUTIONS) for x in (tiny.orm, served))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)
