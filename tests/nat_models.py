"""Models with a negative adapter and a NAT one, as the tests of both need them."""

import copy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from reason_decode.adapters import add_nat


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
    add_nat(both, **{"rank": 2, "gate_dim": 6, **options})
    return filled(both, "nat", 2).eval()
