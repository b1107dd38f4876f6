"""Models inside peft's wrappers."""

import sys
from typing import Any

from transformers import PreTrainedModel

__all__ = ["has_adapter", "unwrap_peft"]


def unwrap_peft(model: Any) -> PreTrainedModel:
    """The transformers model in a ``PeftModel``, with its adapter; any other model as it is.

    Args:
        model: a model.

    Raises:
        ValueError: the adapter is a learned prompt, which is no part of the model inside.
    """
    peft = sys.modules.get("peft")
    if peft is None or not isinstance(model, peft.PeftModel):
        return model
    if model.active_peft_config.is_prompt_learning:
        raise ValueError(
            f"got a {type(model).__name__} with {model.active_peft_config.peft_type.value}, whose "
            "learned prompt stands before every text; scorers read adapters of the layers, such as "
            "LoRA"
        )
    return model.get_base_model()


def has_adapter(model: PreTrainedModel) -> bool:
    """True if layers of a model are adapted by peft and not merged into its weights."""
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    return tuners is not None and any(
        isinstance(module, tuners.BaseTunerLayer) for module in model.modules()
    )
