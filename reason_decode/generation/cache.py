"""Taking a key-value cache apart into rows and stacking rows into a batch again.

A batch of trajectories of unequal length shares one rectangular cache only while padding stands in
between. Search branches and drops trajectories at will, so each is kept by itself (``RowCache``),
and a batch is stacked, padded on the left, when it is to be extended. While it is extended, new
positions are written into spare room (``GrowingLayer``).
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from reason_decode.models.padding import pad_rows

_SPARE = 16

RowCache = list[tuple[Tensor, Tensor]]
"""Keys and values of one trajectory, a pair a layer, each (heads, t, head size)."""


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache that can be taken apart into rows, if the model's can be."""
    cache = DynamicCache(config=config)
    keep_history(cache)
    return cache


def keep_history(cache: object) -> None:
    """Have layers of a sliding window hold what has left the window too, in place.

    A trajectory that is branched before such a point goes on from there.
    """
    for layer in cache.layers if isinstance(cache, DynamicCache) else ():
        # What an earlier call has already dropped is lost.
        if type(layer) is DynamicSlidingWindowLayer and _is_whole(layer):
            layer.activate_past_recording()


def _is_whole(layer: DynamicSlidingWindowLayer) -> bool:
    held = layer.keys.shape[-2] if layer.is_initialized and layer.keys is not None else 0
    return held == layer.get_seq_length()


def check_branchable(cache: object, need: str) -> None:
    """Raise if a cache cannot be taken apart into rows.

    Raises:
        ValueError: the cache is none, static, quantized, or holds layers without a full history.
    """
    layers = cache.layers if isinstance(cache, DynamicCache) else ()
    kinds = sorted({type(layer).__name__ for layer in layers if not _keeps_all(layer)})
    if isinstance(cache, DynamicCache) and not kinds and not cache.offloading:
        return
    got = f"{type(cache).__name__} with {', '.join(kinds)}" if kinds else type(cache).__name__
    raise ValueError(
        f"{need} branches the key-value cache, which needs a DynamicCache of attention layers "
        f"kept on the device; got {got}. Leave cache_implementation unset and use_cache=True, pass "
        "no past_key_values longer than the model's sliding window, and use a model without "
        "recurrent layers"
    )


def _keeps_all(layer: object) -> bool:
    if type(layer) is DynamicSlidingWindowLayer:
        return layer.record_past
    return type(layer) in (DynamicLayer, GrowingLayer)


def copied(cache: Cache) -> Cache:
    """A copy that shares nothing; a prefix may have been read with gradients on."""
    held = [x for layer in cache.layers for x in vars(layer).values() if isinstance(x, Tensor)]
    return copy.deepcopy(cache, {id(x): x.detach().clone() for x in held})


def take_row(
    cache: Cache, row: int, start: int, end: int | None = None, copy: bool = True
) -> RowCache:
    """Keys and values of one row between two positions, out of the batch.

    A view instead of a copy is for a cache that nothing is written to any more; it keeps all rows
    in memory for as long as it is held.
    """
    taken: RowCache = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer) and layer.keys is not None
        assert layer.values is not None
        keys, values = layer.keys[row, :, start:end], layer.values[row, :, start:end]
        taken.append((keys.clone(), values.clone()) if copy else (keys, values))
    return taken


def stack_rows(rows: Sequence[RowCache], config: PreTrainedConfig) -> DynamicCache:
    """A batch cache of rows of any lengths, padded on the left with zeros.

    Returns:
        A ``DynamicCache`` of (b, heads, max t, head size) a layer; mask the padding.
    """
    cache = new_cache(config)
    width = max(keys.shape[1] for keys, _ in (row[0] for row in rows))
    for layer in range(len(rows[0])):
        keys = torch.stack([_padded(row[layer][0], width) for row in rows])
        values = torch.stack([_padded(row[layer][1], width) for row in rows])
        cache.update(keys, values, layer)
    return cache


def _padded(states: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[1], 0))


def crop_row(row: RowCache, end: int) -> RowCache:
    """The first positions of a row, as views."""
    return [(keys[:, :end], values[:, :end]) for keys, values in row]


def read_rows(
    read: Callable[..., Any],
    config: PreTrainedConfig,
    pasts: Sequence[RowCache],
    new: Sequence[Tensor],
    positions: Sequence[int] | None = None,
) -> tuple[Any, DynamicCache, list[slice]]:
    """Read new ids behind rows of any lengths: pasts padded on the left, new ids on the right.

    Args:
        read: the forward pass, given ids, mask, position ids and a cache.
        config: the model's.
        pasts: what each row goes on from; none at all if all rows begin here.
        new: ids (t,) int64 of each row, on the model's device.
        positions: position id of each row's first new id; ``None``: its past's length.

    Returns:
        What ``read`` returned, the cache, and where in it each row lies, without padding.
    """
    old = [row[0][0].shape[1] for row in pasts] or [0] * len(new)
    before, device = max(old), new[0].device
    ids, mask = pad_rows(new, side="right")
    places = [slice(before - held, before + len(row)) for held, row in zip(old, new, strict=True)]
    columns = torch.arange(before, device=device)
    past = columns >= before - torch.tensor(old, device=device)[:, None]
    cache = stack_rows(pasts, config) if pasts else new_cache(config)
    starts = torch.tensor(old if positions is None else positions, device=device)
    outputs = read(
        input_ids=ids,
        attention_mask=torch.cat([past.long(), mask], dim=1),
        position_ids=starts[:, None] + torch.arange(ids.shape[1], device=device),
        past_key_values=cache,
        use_cache=True,
    )
    return outputs, cache, places


class GrowingLayer(DynamicLayer):
    """Keys and values with spare room behind them, so that a token copies none of those before it.

    ``DynamicLayer`` concatenates at every token: r rows of t positions cost r * t**2 copies in all,
    here about r * t**2 / 16.
    """

    _held: tuple[Tensor, Tensor] | None = None
    _shown: Tensor | None = None
    """The keys as they were last handed out; others mean that the rows were picked or cropped."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append positions; returns all keys and values, views of what is held."""
        if not self.is_initialized or self.keys is None or self.values is None:
            return super().update(key_states, value_states, *args, **kwargs)
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self._held is None or self.keys is not self._shown or end > self._held[0].shape[-2]:
            self._held = (_with_room(self.keys, end), _with_room(self.values, end))
        keys, values = self._held
        keys[..., start:end, :] = key_states
        values[..., start:end, :] = value_states
        return self._show(keys, values, end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, with their spare room: picking them is the only copy."""
        if self._held is None or self.keys is None or self.keys is not self._shown:
            super().batch_select_indices(indices)
            return
        self._held = (self._held[0][indices], self._held[1][indices])
        self._show(*self._held, self.keys.shape[-2])

    def _show(self, keys: Tensor, values: Tensor, end: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        self._shown = self.keys
        return self.keys, self.values


def _with_room(states: Tensor, end: int) -> Tensor:
    held = states.new_empty(*states.shape[:-2], end + _SPARE, states.shape[-1])
    held[..., : states.shape[-2], :] = states
    return held


def make_growing(cache: object) -> None:
    """Give the plain dynamic layers of a cache spare room, in place; leave every other kind."""
    if not isinstance(cache, Cache):
        return
    for k, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            growing = GrowingLayer()
            vars(growing).update(vars(layer))
            cache.layers[k] = growing
