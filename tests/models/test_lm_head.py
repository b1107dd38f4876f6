"""Next-token logits are the model's own, on every architecture, adapted, quantized or offloaded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BertLMHeadModel, BertModel

from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.models.wrapped import unwrap_peft
from tests.tolerance import assert_close, roundings

IDS = torch.tensor([[3, 9, 27, 40, 11, 5, 60, 33]])
SIZES: dict[str, Any] = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
MPT: dict[str, Any] = dict(d_model=32, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=64)
LLAMA4: dict[str, Any] = dict(
    attention_chunk_size=8,
    num_local_experts=2,
    intermediate_size_mlp=64,
    layer_types=["chunked_attention", "full_attention"],
    moe_layers=[],
)
# Architecture -> its config, and whether its hidden states give its logits.
MODELS: dict[str, tuple[dict[str, Any], bool]] = {
    "llama": (SIZES, True),
    "gemma2": ({**SIZES, "final_logit_softcapping": 2.0}, True),
    "granite": ({**SIZES, "logits_scaling": 3.0}, True),
    "cohere": ({**SIZES, "logit_scale": 0.3}, True),
    "hyperclovax": ({**SIZES, "logits_scaling": 4.0}, True),
    "falcon_h1": ({**SIZES, "lm_head_multiplier": 0.2}, True),
    "gpt2": (dict(vocab_size=64, n_embd=32, n_head=2, n_layer=2), True),
    "phi": (SIZES, True),  # with a bias
    "mpt": (MPT, True),
    "llama4_text": ({**SIZES, **LLAMA4}, False),
    "modernbert-decoder": (SIZES, False),
}


def _random(kind: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **MODELS[kind][0])
        model = AutoModelForCausalLM.from_config(config).eval()
        for x in model.parameters():
            nn.init.normal_(x, std=0.3)
    return model


def _quantized(model: Any) -> Any:
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def _offloaded(model: Any) -> Any:
    accelerate = pytest.importorskip("accelerate", reason="pip install accelerate to map devices")
    return accelerate.cpu_offload(model, execution_device="cpu")


def _with_lora(model: Any, *targets: str, **options: Any) -> Any:
    peft = pytest.importorskip("peft", reason="pip install peft for LoRA")
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=list(targets), **options)
    adapted = peft.get_peft_model(model, config).eval()
    for name, x in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(x, std=0.3)
    return adapted


@pytest.mark.numeric
@pytest.mark.parametrize("kind", MODELS)
def test_equals_the_logits_of_the_model(kind: str) -> None:
    """Verdicts were once read without scale and cap: P(Yes) was off by 0.4 on Cohere 2."""
    model = _random(kind)
    next_token = NextTokenLogits(model)
    assert (next_token.head is not None) == MODELS[kind][1]
    with torch.no_grad():
        own = model(input_ids=IDS, use_cache=False).logits[0]
        found = next_token.logits(next_token.features(input_ids=IDS, use_cache=False)[0], [7, 0])
    assert_close(found, own[:, [7, 0]], terms=roundings(model), scale=float(own.abs().max()))


@pytest.mark.numeric
@pytest.mark.filterwarnings("ignore")  # of torch.ao, which will move to torchao
@pytest.mark.parametrize(
    ("change", "fast"),
    [
        (_quantized, False),
        (_offloaded, False),
        (lambda model: _with_lora(model, "q_proj"), True),
        (lambda model: _with_lora(model, "lm_head"), False),
        (lambda model: _with_lora(model, "q_proj", modules_to_save=["lm_head"]), False),
    ],
    ids=["int8", "offloaded", "lora", "lora of the output layer", "output layer trained"],
)
def test_equals_the_logits_of_a_changed_model(change: Callable[[Any], Any], fast: bool) -> None:
    changed = change(_random("llama"))
    model = unwrap_peft(changed)
    next_token = NextTokenLogits(model)
    assert (next_token.head is not None) == fast
    with torch.no_grad():
        own = changed(input_ids=IDS, use_cache=False).logits[0]
        found = next_token.logits(next_token.features(input_ids=IDS, use_cache=False)[0], range(64))
    terms = roundings(_random("llama"))
    assert_close(found, own.float(), terms=terms, scale=float(own.abs().max()))


def test_own_logits_bound_the_tokens_of_a_forward_pass() -> None:
    fast, own = NextTokenLogits(_random("llama")), NextTokenLogits(_random("llama4_text"))
    assert fast.limit_batch(1 << 24) == 1 << 24
    assert own.limit_batch(1 << 24) == (1 << 28) // 64 and own.limit_batch(1 << 10) == 1 << 10


def test_rejects_models_that_give_no_logits() -> None:
    config: Any = AutoConfig.for_model("bert", **SIZES, is_decoder=True)
    with pytest.raises(ValueError, match="no output layer"):
        NextTokenLogits(BertModel(config).eval())
    with torch.device("meta"):
        empty = BertLMHeadModel(config).eval()
    with pytest.raises(ValueError, match="meta device"):
        NextTokenLogits(empty)


@pytest.mark.filterwarnings("ignore")  # peft's own
def test_rejects_learned_prompts() -> None:
    """The prompt stands before every text and is no part of the model inside."""
    peft = pytest.importorskip("peft", reason="pip install peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ValueError, match="learned prompt"):
        unwrap_peft(peft.get_peft_model(_random("llama"), config))
