"""Strategies in pipelines, compiled models and models with a device map."""

import copy
from typing import Any

import pytest
import torch
from transformers import pipeline

from reason_decode import BestOfN, LikelihoodScorer, StepSearch
from reason_decode.scorers import TokenClassification
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n", "Make 11 from 1 2 3 4.\n"]
CHATS = [[{"role": "user", "content": prompt.strip()}] for prompt in PROMPTS]


def _pipe(tiny: Tiny, **how: Any) -> Any:
    make: Any = pipeline  # its overloads list every task
    return make("text-generation", model=tiny.model, tokenizer=tiny.tokenizer, **how)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("strategy", [BestOfN, StepSearch])
def test_one_candidate_in_a_pipeline_is_the_plain_pipeline(
    tiny: Tiny, strategy: type[BestOfN] | type[StepSearch], batch: int
) -> None:
    one = strategy(tiny.prm, tokenizer=tiny.tokenizer, n=1)
    how = {"max_new_tokens": 40, "do_sample": False, "batch_size": batch}
    for inputs in (PROMPTS, CHATS):
        assert _pipe(tiny)(inputs, custom_generate=one, **how) == _pipe(tiny)(inputs, **how)


def test_a_pipeline_returns_what_generate_does(tiny: Tiny) -> None:
    best = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=8)
    how: dict[str, Any] = {"max_new_tokens": 80, "do_sample": True, "temperature": 0.9}
    how["custom_generate"] = best
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    torch.manual_seed(0)
    (out,) = tiny.model.generate(**inputs, **how)
    torch.manual_seed(0)
    # One input: for several a pipeline makes a data loader, which draws a random number itself.
    (row,) = _pipe(tiny)(PROMPTS[0], **how)
    assert row["generated_text"] == tiny.tokenizer.decode(out, skip_special_tokens=True)


def test_several_sequences_come_back_from_a_pipeline(tiny: Tiny) -> None:
    best = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4)
    rows = _pipe(tiny)(
        PROMPTS, custom_generate=best, do_sample=True, max_new_tokens=30, num_return_sequences=2
    )
    assert [len(row) for row in rows] == [2, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [BestOfN, StepSearch])
def test_compiled_models_return_the_same_tokens(
    other: Tiny, strategy: type[BestOfN] | type[StepSearch]
) -> None:
    """The "eager" backend traces as any other, but needs no C compiler."""
    how: dict[str, Any] = {"max_new_tokens": 24, "do_sample": True}
    how["custom_generate"] = strategy(other.prm, tokenizer=other.tokenizer, n=3)
    inputs = other.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    model = copy.deepcopy(other.model)
    model.compile(backend="eager")
    said: list[Any] = []
    for generator in (other.model, model):
        torch.manual_seed(0)
        said.append(generator.generate(**inputs, **how))
    assert torch.equal(*said)


# Until transformers 5.20 generate() warned about inputs of offloaded layers, which work.
@pytest.mark.filterwarnings("ignore:You are calling .generate")
@pytest.mark.parametrize("strategy", [BestOfN, StepSearch])
def test_models_with_a_device_map_return_the_same_tokens(
    tiny: Tiny, strategy: type[BestOfN] | type[StepSearch]
) -> None:
    """Offloaded weights are on the meta device between calls; scorers once put ids there."""
    accelerate = pytest.importorskip("accelerate", reason="pip install accelerate to map devices")
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    how: dict[str, Any] = {"max_new_tokens": 24, "do_sample": True}
    model, judge = copy.deepcopy(tiny.model), copy.deepcopy(tiny.prm.model)
    for mapped in (model, judge):
        accelerate.cpu_offload(mapped, execution_device="cpu")
    prm = TokenClassification(judge, tiny.prm.tokenizer)
    said: list[Any] = []
    for generator, scorer in ((tiny.model, tiny.prm), (model, prm)):
        torch.manual_seed(0)
        one = strategy(scorer, tokenizer=tiny.tokenizer, n=3)
        said.append(generator.generate(**inputs, **how, custom_generate=one))
    assert torch.equal(*said)


@pytest.mark.numeric
def test_an_offloaded_output_layer_scores_by_the_logits_of_the_model(tiny: Tiny) -> None:
    """Its rows cannot be read between two forward passes, so it was once refused."""
    accelerate = pytest.importorskip("accelerate", reason="pip install accelerate to map devices")
    model = accelerate.cpu_offload(copy.deepcopy(tiny.model), execution_device="cpu")
    found, plain = (
        LikelihoodScorer(x, tiny.tokenizer, chat=False).score(PROMPTS[:1], ["4 + 5 = 9"])
        for x in (model, tiny.model)
    )
    assert_close(found, plain, terms=roundings(tiny.model))
