"""Layers of a key-value cache: rows selected, copied and merged, and room for new positions.

Three kinds of layers hold what a model needs of the tokens before: attention layers hold keys and
values of each position; recurrent layers (Mamba, linear attention, short convolutions) hold states
that stand for all positions at once; layers that share the keys of others hold nothing.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import cache_utils
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)

from reason_decode.models.devices import free_memory

__all__ = [
    "clone_cache",
    "fitting_rows",
    "has_rows",
    "is_empty_layer",
    "is_filled",
    "is_recurrent",
    "keeps_history",
    "layer_states",
    "merge_caches",
    "preallocate_cache",
    "select_cache",
    "select_cache_rows",
]

_SPARE = 16
_SMALL = 2**26
"""Bytes that the caches of all rows may take before anyone asks how much memory is free."""
# transformers 5.18 has no such class: it leaves layers out that share the keys of others.
_EMPTY = tuple(kind for name, kind in vars(cache_utils).items() if name == "DummyLayer")


def has_rows(cache: object) -> bool:
    """True if the rows of a cache can be selected and copied: it is made of known layers."""
    return (
        type(cache) is DynamicCache
        and not cache.offloading
        and all(type(layer) in (*_KNOWN, *_EMPTY) for layer in cache.layers)
    )


def keeps_history(layer: object) -> bool:
    """True if a row of a layer can be taken out and continued later."""
    return layer.record_past if type(layer) is DynamicSlidingWindowLayer else True


def is_recurrent(cache: Cache) -> bool:
    """True if a layer is recurrent: its states cannot be cropped to an earlier position."""
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def is_filled(cache: Cache) -> bool:
    """True if a model has written what it read into the cache.

    A few models keep their state elsewhere (RecurrentGemma in its modules), or read everything
    again with each token (GPT-1), and leave the cache that they are given empty.
    """
    recurrent = [x for x in cache.layers if isinstance(x, LinearAttentionCacheLayerMixin)]
    attention = [x for x in cache.layers if isinstance(x, DynamicLayer)]
    # transformers 5.18 has recurrent layers that stay empty, for layers without attention.
    return all(map(_length, attention)) and (
        not recurrent or any(layer_states(x) for x in recurrent)
    )


def layer_states(layer: object) -> dict[tuple[str, int], Tensor]:
    """The recurrent states of a layer, each (b, ...), by attribute and place; of attention none."""
    if not isinstance(layer, LinearAttentionCacheLayerMixin):
        return {}
    held = {"conv_states": layer.conv_states, "recurrent_states": layer.recurrent_states}
    return {
        (name, k): x for name, states in held.items() for k, x in states.items() if x is not None
    }


def is_empty_layer(layer: Any) -> bool:
    """True if a layer holds no keys: it has only states, or shares the keys of another one."""
    return not isinstance(layer, DynamicLayer) or not _length(layer)


def _length(layer: object) -> int:
    return layer.get_seq_length() if isinstance(layer, DynamicLayer) else 0


def _row_bytes(cache: Cache, new_tokens: int) -> float:
    """Bytes that a row of a cache takes once it holds a number of further positions."""
    total = 0.0
    for layer in cache.layers:
        for x in layer_states(layer).values():
            total += x.nbytes / len(x)
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            held, positions = layer.keys.nbytes + layer.values.nbytes, layer.keys.shape[-2]
            total += held / max(1, len(layer.keys) * positions) * (positions + new_tokens)
    return total


def fitting_rows(cache: Cache, new_tokens: int, rows: int) -> int:
    """The number of rows, of those wanted, whose caches fill at most half of the free memory.

    It is all of them on devices that say when memory runs out, and where they take next to nothing.

    Args:
        cache: rows of the same kind.
        new_tokens: number of further positions that a row may get.
        rows: rows wanted.
    """
    size = _row_bytes(cache, new_tokens)
    on_cpu = all(x.device.type == "cpu" for layer in cache.layers for x in _tensors(layer))
    # Asking reads files, which would cost every step of a search its time.
    free = free_memory() if on_cpu and size * rows > _SMALL else None
    return rows if free is None else max(1, min(rows, int(free / 2 // size)))


def _tensors(layer: object) -> list[Tensor]:
    return [x for x in vars(layer).values() if isinstance(x, Tensor)]


def select_cache_rows(cache: Cache, index: Tensor) -> None:
    """Keep some rows of a cache, in place; an index may appear several times."""
    ids: Any = index  # the stubs want a LongTensor, which torch's operations never return
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(ids)
        elif isinstance(layer, DynamicLayer) and layer.keys is not None:
            layer.batch_select_indices(index.to(layer.keys.device))


def select_cache(cache: Cache, index: Tensor) -> Cache:
    """Copies of some rows of a cache, which itself stays as it is."""
    selected = _copy_of_layers(cache)
    select_cache_rows(selected, index)
    return selected


def merge_caches(caches: Sequence[Cache]) -> Cache:
    """The rows of caches of the same length as one cache."""
    merged = _copy_of_layers(caches[0])
    for k, layer in enumerate(merged.layers):
        same: list[Any] = [cache.layers[k] for cache in caches]
        for name, place in layer_states(layer):
            states = [getattr(x, name)[place] for x in same]
            getattr(layer, name)[place] = torch.cat(states)
        if isinstance(layer, DynamicLayer) and layer.keys is not None:
            layer.keys = torch.cat([x.keys for x in same])
            layer.values = torch.cat([x.values for x in same])
    return merged


def _copy_of_layers(cache: Cache) -> Cache:
    """A cache with layers of its own, which hold the same tensors."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in new.layers:
        vars(layer).update({k: dict(x) for k, x in vars(layer).items() if isinstance(x, dict)})
    return new


def clone_cache(cache: Cache) -> Cache:
    """A copy of a cache that shares no memory with it and has no autograd history."""
    held = [x for layer in cache.layers for x in _tensors(layer)]
    held += [x for layer in cache.layers for x in layer_states(layer).values()]
    # deepcopy refuses tensors that carry gradients: give it the copies that it would make.
    return copy.deepcopy(cache, {id(x): x.detach().clone() for x in held})


class PreallocatedLayer(DynamicLayer):
    """A layer's keys and values at the front of larger tensors, so that appending copies nothing.

    ``DynamicLayer`` concatenates at every token, which copies r * t**2 / 2 positions over t tokens
    of r rows; growing by 16 positions at a time copies a sixteenth of that.

    ``keys`` and ``values``, which transformers reads and replaces, are views of the larger tensors.
    If ``keys`` is no longer the view that was handed out last, other code has selected rows or
    cropped positions, and the larger tensors are made anew.
    """

    _buffers: tuple[Tensor, Tensor] | None = None
    _last_view: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append positions; returns views of all keys and values."""
        if not self.is_initialized or self.keys is None or self.values is None:
            return super().update(key_states, value_states, *args, **kwargs)
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        full = self._buffers is None or end > self._buffers[0].shape[-2]
        if full or self.keys is not self._last_view:
            self._buffers = (_with_spare(self.keys, end), _with_spare(self.values, end))
        assert self._buffers is not None
        keys, values = self._buffers
        keys[..., start:end, :] = key_states
        values[..., start:end, :] = value_states
        return self._view(keys, values, end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows, with their spare room, in a single copy."""
        if self._buffers is None or self.keys is None or self.keys is not self._last_view:
            super().batch_select_indices(indices)
            return
        self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
        self._view(*self._buffers, self.keys.shape[-2])

    def _view(self, keys: Tensor, values: Tensor, end: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        self._last_view = self.keys
        return self.keys, self.values


def _with_spare(states: Tensor, end: int) -> Tensor:
    buffer = states.new_empty(*states.shape[:-2], end + _SPARE, states.shape[-1])
    buffer[..., : states.shape[-2], :] = states
    return buffer


def preallocate_cache(cache: object) -> None:
    """Turn the plain dynamic layers of a cache into preallocated ones, in place."""
    if not isinstance(cache, Cache):
        return
    for k, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            preallocated = PreallocatedLayer()
            vars(preallocated).update(vars(layer))
            cache.layers[k] = preallocated


_KNOWN = (
    DynamicLayer,
    PreallocatedLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
)
