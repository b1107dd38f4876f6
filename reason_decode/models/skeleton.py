"""Models without weights: the class, names and sizes of a checkpoint that lies elsewhere."""

from typing import Any

import torch
from transformers import PreTrainedModel

__all__ = ["build_skeleton"]


def build_skeleton(auto_class: Any, config: Any) -> PreTrainedModel:
    """The model of a config on the meta device; it takes no memory, and cannot be run.

    Args:
        auto_class: one of transformers' auto classes, such as ``AutoModel``.
        config: the checkpoint's config.

    Raises:
        ValueError: transformers has no such model for the config.
    """
    with torch.device("meta"):
        return auto_class.from_config(config, trust_remote_code=False)
