"""Layers of a cache that hold something else than the keys and values of all positions.

Recurrent layers (Mamba, linear attention, short convolutions) hold states that stand for all
positions at once; layers with a sliding window drop positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

__all__ = ["layer_states", "retain_history", "write_states"]


def retain_history(layer: DynamicSlidingWindowLayer) -> None:
    """Make a layer keep the positions that leave its window, unless some have left it already."""
    held = layer.keys.shape[-2] if layer.is_initialized and layer.keys is not None else 0
    if held == layer.get_seq_length():
        layer.activate_past_recording()


def layer_states(layer: object) -> dict[tuple[str, int], Tensor]:
    """The recurrent states of a layer, each (b, ...), by attribute and place; of attention none."""
    if not isinstance(layer, LinearAttentionCacheLayerMixin):
        return {}
    held = {"conv_states": layer.conv_states, "recurrent_states": layer.recurrent_states}
    return {
        (name, k): x for name, states in held.items() for k, x in states.items() if x is not None
    }


def write_states(layer: Any, rows: Sequence[dict[tuple[str, int], Tensor]]) -> None:
    """Write the recurrent states of rows into an empty layer."""
    for name, k in rows[0]:
        states = torch.stack([row[name, k] for row in rows])
        if name == "conv_states":
            layer.update_conv_state(states, state_idx=k)
        else:
            layer.update_recurrent_state(states, state_idx=k)
        layer.has_previous_state[k] = True
