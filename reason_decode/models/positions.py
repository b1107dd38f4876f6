"""The number of positions that a model has."""

from typing import Any

import torch
from transformers import PreTrainedModel

__all__ = ["learned_positions", "max_positions"]


def max_positions(model: PreTrainedModel) -> int | None:
    """Longest sequence in tokens that a model was made for, or ``None`` if its config names none.

    This is ``max_position_embeddings`` of the text config. A model with rotary positions also reads
    longer sequences, though its outputs there mean little; a model with a table of learned
    positions cannot (``learned_positions``).
    """
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def learned_positions(model: PreTrainedModel) -> int | None:
    """Size of a model's table of learned positions, or ``None`` if it computes its positions.

    A position past the end of such a table (GPT-2, OPT) is an index error in the forward pass.
    """
    size = max_positions(model)
    tokens: Any = model.get_input_embeddings()
    tables = (x for x in model.modules() if isinstance(x, torch.nn.Embedding) and x is not tokens)
    # OPT's table has two more rows than positions.
    has_table = size is not None and any(size <= x.num_embeddings <= size + 2 for x in tables)
    return size if has_table else None
