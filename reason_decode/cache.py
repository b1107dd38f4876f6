"""Taking a key-value cache apart into rows and stacking rows into a batch again.

A batch of trajectories of unequal length shares one rectangular cache only while padding stands in
between. Search branches and drops trajectories at will, so each is kept by itself (``RowCache``),
and a batch is stacked, padded on the left, when it is to be extended.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

RowCache = list[tuple[Tensor, Tensor]]
"""Keys and values of one trajectory, a pair a layer, each (heads, t, head size)."""


def check_branchable(cache: object, need: str) -> None:
    """Raise if a cache cannot be taken apart into rows.

    Raises:
        ValueError: the cache is none, static, quantized, or holds layers without a full history.
    """
    layers = cache.layers if isinstance(cache, DynamicCache) else ()
    kinds = sorted({type(layer).__name__ for layer in layers} - {"DynamicLayer"})
    if isinstance(cache, DynamicCache) and not kinds and not cache.offloading:
        return
    got = f"{type(cache).__name__} with {', '.join(kinds)}" if kinds else type(cache).__name__
    raise ValueError(
        f"{need} branches the key-value cache, which needs a DynamicCache of full-attention layers "
        f"kept on the device; got {got}. Leave cache_implementation unset and use_cache=True, or "
        "use a model without sliding-window or recurrent layers"
    )


def take_row(cache: Cache, row: int, start: int, end: int | None = None) -> RowCache:
    """Keys and values of one row between two positions, copied out of the batch."""
    taken: RowCache = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer) and layer.keys is not None
        assert layer.values is not None
        taken.append(
            (layer.keys[row, :, start:end].clone(), layer.values[row, :, start:end].clone())
        )
    return taken


def stack_rows(rows: Sequence[RowCache], config: PreTrainedConfig) -> DynamicCache:
    """A batch cache of rows of any lengths, padded on the left with zeros.

    Returns:
        A ``DynamicCache`` of (b, heads, max t, head size) a layer; mask the padding.
    """
    cache = DynamicCache(config=config)
    width = max(keys.shape[1] for keys, _ in (row[0] for row in rows))
    for layer in range(len(rows[0])):
        keys = torch.stack([_padded(row[layer][0], width) for row in rows])
        values = torch.stack([_padded(row[layer][1], width) for row in rows])
        cache.update(keys, values, layer)
    return cache


def _padded(states: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[1], 0))


def row_length(row: RowCache) -> int:
    """How many positions a row holds."""
    return row[0][0].shape[1]
