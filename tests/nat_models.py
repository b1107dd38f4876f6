"""Models with a negative adapter and a NAT one, as the tests of both need them."""

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import tiny
from reason_decode.adapters import add_nat


def save_random(folder: Path) -> Path:
    """The folder, with a random model of two layers, half as many key heads, tiny's tokenizer."""
    words = tiny.load().tokenizer
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def filled(model: Any, adapter: str, seed: int, std: float = 0.3) -> Any:
    """The model with an adapter that was as good as trained: no matrix is zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if f".{adapter}." in name:
                x.copy_(std * torch.randn(x.shape))
    return model


def with_negative(model: Any, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """A copy with a negative adapter on every linear layer."""
    base = copy.deepcopy(model)
    if dtype is not None:
        base.to(dtype)
    own = {"r": 3, "lora_alpha": 5, "target_modules": "all-linear", **options}
    model = get_peft_model(base, LoraConfig(**own), adapter_name="negative")
    return filled(model, "negative", 1).eval()


def with_nat(model: Any, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """A copy with both adapters, neither of them zero."""
    both = with_negative(model, dtype)
    add_nat(both, **{"rank": 2, "dim": 6, **options})
    return filled(both, "nat", 2).eval()
