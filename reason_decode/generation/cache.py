"""Key-value caches: rows taken out, stacked, selected and copied, and room for new positions.

The rows of a batch share one rectangular cache. What a model needs of a single row is a
``RowCache``. A search branches and drops rows at will, so it holds them apart, and the rows that go
on are stacked, padded on the left, into a batch cache.

This file knows attention layers, which hold keys and values of each position. ``layers`` has what
sliding windows and recurrent layers ask for besides.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedConfig, cache_utils
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)

from reason_decode.generation.layers import layer_states, retain_history, write_states
from reason_decode.models.inputs import pad_rows

_SPARE = 16
# transformers 5.18 has no such class: it leaves layers out that share the keys of others.
_EMPTY = tuple(kind for name, kind in vars(cache_utils).items() if name == "DummyLayer")


class LayerRow(NamedTuple):
    """One row of a cache layer.

    Attributes:
        keys: (heads, t, head size); ``None`` for a layer without keys and values.
        values: (heads, t, head size); ``None`` for the same layers.
        states: recurrent states, which stand for all positions; see ``layer_states``.
    """

    keys: Tensor | None
    values: Tensor | None
    states: dict[tuple[str, int], Tensor] = {}


RowCache = list[LayerRow]
"""The keys, values and states of one row: an entry for each layer."""


def has_rows(cache: object) -> bool:
    """True if the rows of a cache can be selected and copied: it is made of known layers."""
    return (
        type(cache) is DynamicCache
        and not cache.offloading
        and all(type(layer) in (*_KNOWN, *_EMPTY) for layer in cache.layers)
    )


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


def is_empty_layer(layer: Any) -> bool:
    """True if a layer holds no keys: it has only states, or shares the keys of another one."""
    return not isinstance(layer, DynamicLayer) or not _length(layer)


def _length(layer: object) -> int:
    return layer.get_seq_length() if isinstance(layer, DynamicLayer) else 0


def check_cache(strategy_name: str, kwargs: dict[str, Any]) -> None:
    """Raise for a cache that the caller has chosen, and whose rows cannot be copied.

    Of a model's own cache nothing is asked: where its rows cannot be copied, its state is made
    again by reading.

    Args:
        strategy_name: the strategy's class name, for the error message.
        kwargs: the model kwargs of the call.

    Raises:
        ValueError: there is such a cache.
    """
    for cache in (kwargs.get("past_key_values"), kwargs.get("cache_params")):
        if cache is None or has_rows(cache):
            continue
        if type(cache) is DynamicCache and not cache.offloading and not is_filled(cache):
            continue
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {_class_names(cache)}, whose rows "
            "it cannot copy. Leave cache_implementation unset, and pass no past_key_values or a "
            "DynamicCache"
        )


def check_branchable(cache: object, strategy_name: str) -> None:
    """Raise if a cache cannot be taken apart into rows.

    Args:
        cache: the model's cache.
        strategy_name: for the error message.

    Raises:
        ValueError: the cache is none, static or quantized, or has layers without a full history.
    """
    layers = cache.layers if isinstance(cache, Cache) else []
    windows = [x for x in layers if type(x) is DynamicSlidingWindowLayer]
    if has_rows(cache) and all(x.record_past for x in windows):
        return
    raise ValueError(
        f"{strategy_name} branches the key-value cache, which needs a DynamicCache kept on the "
        f"device, of layers whose rows can be taken out and continued; got {_class_names(cache)}. "
        "Leave cache_implementation unset and use_cache=True, and pass no past_key_values longer "
        "than the model's sliding window"
    )


def _class_names(cache: object) -> str:
    """The class of a cache and those of its layers."""
    layers = cache.layers if isinstance(cache, Cache) else []
    kinds = ", ".join(sorted({type(layer).__name__ for layer in layers}))
    return f"{type(cache).__name__} of {kinds}" if kinds else type(cache).__name__


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache, one that can be taken apart into rows if the model's layers allow it."""
    cache = DynamicCache(config=config)
    retain_sliding_window_history(cache)
    return cache


def retain_sliding_window_history(cache: object) -> None:
    """Make sliding-window layers keep the positions that leave the window, in place.

    They are needed to continue a trajectory from an earlier position, as after a branch.
    """
    for layer in cache.layers if isinstance(cache, DynamicCache) else ():
        if type(layer) is DynamicSlidingWindowLayer:
            retain_history(layer)


def take_row(
    cache: Cache, row: int, start: int, end: int | None = None, copy: bool = True
) -> RowCache:
    """Keys and values of one row of a batch between two positions.

    Args:
        cache: the batch's cache.
        row: index of the row.
        start: first position, counted with the padding.
        end: position after the last; ``None`` for all that follow.
        copy: copy the tensors. Views take no time, but are right only as long as nothing more is
            written to the cache, and keep all of its rows in memory.
    """
    taken: RowCache = []
    for layer in cache.layers:
        states, keys, values = dict[tuple[str, int], Tensor](), None, None
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            states = {name: x[row] for name, x in layer_states(layer).items()}
        if isinstance(layer, DynamicLayer) and not is_empty_layer(layer):
            assert layer.keys is not None and layer.values is not None
            keys, values = layer.keys[row, :, start:end], layer.values[row, :, start:end]
        entry = LayerRow(keys, values, states)
        taken.append(_copied(entry) if copy else entry)
    return taken


def _copied(row: LayerRow) -> LayerRow:
    states = {name: x.clone() for name, x in row.states.items()}
    if row.keys is None or row.values is None:
        return LayerRow(None, None, states)
    return LayerRow(row.keys.clone(), row.values.clone(), states)


def stack_rows(rows: Sequence[RowCache], config: PreTrainedConfig) -> DynamicCache:
    """A batch cache of rows of any lengths, padded on the left with zeros.

    Returns:
        A ``DynamicCache`` with keys and values (b, heads, max t, head size) in each layer. The
        attention mask has to hide the padding.
    """
    cache = new_cache(config)
    width = max(map(row_length, rows))
    for k in range(len(rows[0])):
        layer: Any = cache.layers[k]
        row = [x[k] for x in rows]
        if row[0].states:
            write_states(layer, [x.states for x in row])
        if row[0].keys is not None:
            keys = torch.stack([_pad_left(x.keys, width) for x in row])
            values = torch.stack([_pad_left(x.values, width) for x in row])
            layer.update(keys, values)
    return cache


def _pad_left(states: Any, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[1], 0))


def row_length(row: RowCache) -> int:
    """Number of positions in a row; 0 if all of its layers are recurrent."""
    return next((x.keys.shape[1] for x in row if x.keys is not None), 0)


def crop_row(row: RowCache, end: int) -> RowCache:
    """Views of the first ``end`` positions of a row, which holds no recurrent states."""
    if any(x.states for x in row):
        raise ValueError(f"got a row with recurrent states to be cropped to {end} positions")
    return [
        x if x.keys is None or x.values is None else LayerRow(x.keys[:, :end], x.values[:, :end])
        for x in row
    ]


class RowBatch(NamedTuple):
    """Inputs of a forward pass that reads new ids after cached rows.

    Attributes:
        inputs: keyword arguments of the model: ids, mask, position ids, cache, ``use_cache``.
        cache: the cache among the inputs, which the forward pass extends.
        spans: for each row its columns in the extended cache, without padding.
    """

    inputs: dict[str, Any]
    cache: DynamicCache
    spans: list[slice]


def build_row_batch(
    config: PreTrainedConfig,
    pasts: Sequence[RowCache],
    new: Sequence[Tensor],
    positions: Tensor | None = None,
) -> RowBatch:
    """A batch that reads new ids after cached rows of any lengths.

    The pasts are padded on the left and the new ids on the right, so that in every row the new ids
    directly follow the past.

    Args:
        config: the model's config.
        pasts: the cache of each row; empty if all rows begin here.
        new: ids (t,) int64 of each row, on the model's device.
        positions: position id of each row's first new id, (r,) or (axes, r); ``None``: the length
            of its past.
    """
    old = [row_length(row) for row in pasts] or [0] * len(new)
    before, device = max(old), new[0].device
    ids, new_mask = pad_rows(new, side="right")
    columns = torch.arange(before, device=device)
    old_mask = columns >= before - torch.tensor(old, device=device)[:, None]
    cache = stack_rows(pasts, config) if pasts else new_cache(config)
    starts = torch.tensor(old, device=device) if positions is None else positions
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.cat([old_mask.long(), new_mask], dim=1),
        "position_ids": starts[..., None] + torch.arange(ids.shape[1], device=device),
        "past_key_values": cache,
        "use_cache": True,
    }
    spans = [slice(before - held, before + len(row)) for held, row in zip(old, new, strict=True)]
    return RowBatch(inputs, cache, spans)


def row_bytes(cache: Cache, new_tokens: int) -> float:
    """Bytes that a row of a cache takes once it holds a number of further positions."""
    total = 0.0
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            total += sum(x.nbytes / len(x) for x in layer_states(layer).values())
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            held, positions = layer.keys.nbytes + layer.values.nbytes, layer.keys.shape[-2]
            total += held / max(1, len(layer.keys) * positions) * (positions + new_tokens)
    return total


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
    selected = copy_layers(cache)
    select_cache_rows(selected, index)
    return selected


def copy_layers(cache: Cache) -> Cache:
    """A cache with layers of its own, which hold the same tensors."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in new.layers:
        vars(layer).update({k: dict(x) for k, x in vars(layer).items() if isinstance(x, dict)})
    return new


def clone_cache(cache: Cache) -> Cache:
    """A copy of a cache that shares no memory with it and has no autograd history."""
    held = [x for layer in cache.layers for x in vars(layer).values() if isinstance(x, Tensor)]
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
