"""Attention: the implementation that a config names, and the masks that a model supports."""

import inspect
from typing import Any

from transformers import PreTrainedModel

__all__ = ["attention_implementation", "supports_4d_mask"]


def attention_implementation(config: Any) -> str | None:
    """The implementation that a config names, such as ``"sdpa"``; ``None`` if it names none."""
    return getattr(config, "_attn_implementation", None)


def supports_4d_mask(model: PreTrainedModel) -> bool:
    """True if a mask (b, 1, t, t) and position ids alone decide what each token attends to.

    False for sliding windows and ALiBi, which look at the tokens' places in the row as well, and
    for attention implementations that do not take such a mask.
    """
    config: Any = model.config.get_text_config()
    window = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    return (
        set(getattr(config, "layer_types", None) or []) <= {"full_attention"}
        and not (window or getattr(config, "alibi", False))
        and "position_ids" in inspect.signature(model.base_model.forward).parameters
        and attention_implementation(config) in ("sdpa", "eager")
    )
