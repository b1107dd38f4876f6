"""Strategies and scorers give the same results on a GPU as on a CPU."""

import copy
import math
from typing import Any

import pytest
import torch

from examples.tiny.rationales import draw
from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    OutcomeRewardModel,
    RationaleGuided,
    RationaleScorer,
    SelfConsistency,
    StepSearch,
    tiny,
)
from reason_decode.mining import score_rationales
from reason_decode.scorers import RationaleWriter, TokenClassification
from tests.tolerance import assert_close, roundings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PROMPTS = ["Make 36 from 4 5 6 10.\n", "Make 30 from 2 3.\n"]
STEPS = [["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 30 (left: 6 30)"], ["2 * 3 = 6 (left: 6)"]]


@pytest.fixture(scope="module")
def models() -> tiny.Tiny:
    return tiny.load()


def on_gpu(models: tiny.Tiny) -> Any:
    return moved(models.model, "cuda")


def moved(model: Any, device: Any) -> Any:
    return copy.deepcopy(model).to(device)


def scorers(models: tiny.Tiny, model: Any) -> list[Any]:
    device = model.device
    prm, orm = (moved(x.model, device) for x in (models.prm, models.orm))
    return [
        TokenClassification(prm, models.tokenizer),
        OutcomeRewardModel(orm, models.tokenizer),
        LikelihoodScorer(model, models.tokenizer, chat=False),
    ]


def test_scores_are_those_of_the_cpu(models):
    here = scorers(models, models.model)
    for scorer, there in zip(here, scorers(models, on_gpu(models)), strict=True):
        expected = scorer.score(PROMPTS, STEPS)
        found = [scores.cpu() for scores in there.score(PROMPTS, STEPS)]
        assert_close(found, expected, terms=roundings(scorer.model))


def test_one_candidate_is_plain_generate(models):
    model, words = on_gpu(models), models.tokenizer
    prm, *_ = scorers(models, model)
    writer = RationaleWriter(model, words, chat=False, max_new_tokens=4)
    rationalyst = RationaleScorer(writer, chat=False)
    inputs = words(PROMPTS, return_tensors="pt", padding=True).to("cuda")
    how: dict[str, Any] = {"max_new_tokens": 60, "do_sample": True}
    torch.manual_seed(0)
    plain = model.generate(**inputs, **how)
    for strategy in (
        BestOfN(prm, tokenizer=words, n=1),
        SelfConsistency(tokenizer=words, n=1),
        StepSearch(prm, tokenizer=words, n=1),
        RationaleGuided(rationalyst, tokenizer=words, n=1),
    ):
        torch.manual_seed(0)
        assert torch.equal(model.generate(**inputs, **how, custom_generate=strategy), plain)


def test_searches_of_several_candidates_run(models):
    model, words = on_gpu(models), models.tokenizer
    prm, *_ = scorers(models, model)
    inputs = words(PROMPTS, return_tensors="pt", padding=True).to("cuda")
    how: dict[str, Any] = {"max_new_tokens": 60, "do_sample": True, "return_dict_in_generate": True}
    for strategy in (
        BestOfN(prm, tokenizer=words, n=4),
        StepSearch(prm, tokenizer=words, n=4, beam_width=2, lookahead=1),
    ):
        out = model.generate(**inputs, **how, custom_generate=strategy)
        assert out.sequences.device.type == "cuda" and len(out.traces) == 2


def test_deltas_of_rationales_are_those_of_the_cpu(models):
    documents = [x.document for x in draw(0, 6)]
    here = list(score_rationales(documents, models.model, models.tokenizer))
    there = list(score_rationales(documents, on_gpu(models), models.tokenizer))
    assert [x.index for x in here] == [x.index for x in there]
    for a, b in zip(here, there, strict=True):
        # As much as the text behind it would be told by chance, in nats.
        behind = models.tokenizer(a.document.texts[a.index + 1], add_special_tokens=False)
        scale = len(behind["input_ids"]) * math.log(len(models.tokenizer))
        assert_close(b.delta, a.delta, terms=roundings(models.model), scale=scale)
