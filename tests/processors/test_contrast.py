import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from run_processor import generate
from torch import Tensor
from transformers import LlamaForCausalLM

from reason_decode import NegativeContrastLogitsProcessor, StepSearch
from reason_decode.tiny import Tiny, load
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


@pytest.fixture(scope="module")
def negative(tiny: Tiny) -> LlamaForCausalLM:
    """The base model with noise on its weights."""
    model: Any = type(tiny.model)(tiny.model.config).eval()
    model.load_state_dict(tiny.model.state_dict())
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for x in model.model.layers.parameters():
            x += 0.02 * torch.randn_like(x)
    return model


@pytest.mark.numeric
def test_contrast_is_the_published_formula(tiny: Tiny, negative: LlamaForCausalLM) -> None:
    ids = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        scores: Tensor = tiny.model(ids).logits[:, -1]
        logp, other = scores.log_softmax(-1), negative(ids).logits[:, -1].log_softmax(-1)
    found = NegativeContrastLogitsProcessor(negative, weight=0.5, plausibility=0.1)(ids, scores)
    likely = logp.exp() >= 0.1 * logp.exp().max()
    assert 1 < int(likely.sum()) < 60
    expected = torch.where(likely, 1.5 * logp - 0.5 * other, -math.inf)
    # Infinities aside, what was added up is as large as the least likely token is unlikely.
    scale = float((1.5 * logp.abs() + 0.5 * other.abs()).max())
    assert_close(found, expected, terms=roundings(tiny.model), scale=scale)


def test_contrast_without_weight_and_mask_changes_nothing(
    tiny: Tiny, negative: LlamaForCausalLM
) -> None:
    idle = NegativeContrastLogitsProcessor(negative, weight=0, plausibility=0)
    for sampled in (False, True):
        plain = generate(tiny, PROMPTS, None, do_sample=sampled)
        assert generate(tiny, PROMPTS, idle, do_sample=sampled) == plain


def test_contrast_of_a_batch_is_that_of_its_rows_call_after_call(
    tiny: Tiny, negative: LlamaForCausalLM
) -> None:
    processor = NegativeContrastLogitsProcessor(negative, weight=1.0)
    both = generate(tiny, PROMPTS, processor)
    assert both != generate(tiny, PROMPTS, None)
    for prompt, text in zip(PROMPTS, both, strict=True):
        assert generate(tiny, [prompt], processor) == [text]
        assert generate(tiny, [prompt], NegativeContrastLogitsProcessor(negative, weight=1.0)) == [
            text
        ]


@pytest.mark.slow
def test_contrast_follows_rows_that_beams_and_searches_reorder(
    tiny: Tiny, negative: LlamaForCausalLM
) -> None:
    """A processor that caches nothing gives the same text."""

    class Uncached(NegativeContrastLogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            return NegativeContrastLogitsProcessor(negative, weight=0.5)(input_ids, scores)

    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2)
    options: list[dict[str, Any]] = [
        {"num_beams": 3},
        {"do_sample": True, "custom_generate": search},
    ]
    for how in options:
        found = generate(tiny, PROMPTS, NegativeContrastLogitsProcessor(negative), **how)
        assert found == generate(tiny, PROMPTS, Uncached(negative), **how)


def test_contrast_rejects_invalid_arguments(tiny_llama: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="weight=-1"):
        NegativeContrastLogitsProcessor(tiny_llama, weight=-1)
    with pytest.raises(ValueError, match="plausibility=2"):
        NegativeContrastLogitsProcessor(tiny_llama, plausibility=2)
    with pytest.raises(ValueError, match="same vocabulary"):
        NegativeContrastLogitsProcessor(tiny_llama)(torch.tensor([[3]]), torch.zeros(1, 9))


@pytest.mark.filterwarnings("ignore")  # peft's own
def test_an_adapter_of_the_generator_can_be_the_negative_model(
    tiny: Tiny,
) -> None:
    """It decodes as a separate negative model would, in batches, beams and searches."""
    peft = pytest.importorskip("peft", reason="adapters need peft")
    beside = peft.get_peft_model(load().model, peft.LoraConfig(target_modules=["v_proj", "q_proj"]))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for name, x in beside.named_parameters():
            if "lora_" in name:
                x.copy_(0.1 * torch.randn_like(x))
    shared = Tiny(deepcopy(beside), tiny.tokenizer, tiny.prm)
    shared.model.add_adapter("other", peft.LoraConfig(target_modules=["o_proj"]))
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, beam_width=2)
    options: list[dict[str, Any]] = [
        {"max_new_tokens": 12, "num_beams": 2},
        {"max_new_tokens": 12, "do_sample": True, "custom_generate": search},
    ]
    processor = NegativeContrastLogitsProcessor(shared.model, adapter="default")
    alone = NegativeContrastLogitsProcessor(beside.get_base_model())
    # The generator has no active adapter here, and one that is still zero below.
    with shared.model.disable_adapter():
        for how in options:
            found = generate(shared, PROMPTS, processor, **how)
            assert found == generate(tiny, PROMPTS, alone, **how)
    shared.model.set_adapter("other")
    short = {"max_new_tokens": 12}
    assert generate(shared, PROMPTS, processor, **short) == generate(tiny, PROMPTS, alone, **short)
    assert shared.model.active_adapter == "other"
    with pytest.raises(ValueError, match="got adapter='x'; the model has default, other"):
        NegativeContrastLogitsProcessor(shared.model, adapter="x")
