"""Batches of token sequences that are being decoded, and their key-value caches.

The rows of a batch share one rectangular cache, with padding between rows of unequal length. A
search branches and drops trajectories at will, so each trajectory's keys and values are held apart
(``RowCache``, held by a ``Branch``), and the rows that go on are stacked, padded on the left, into
a batch cache. While tokens are sampled, the batch cache has spare room for new positions
(``PreallocatedLayer``).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from reason_decode.models.inputs import pad_rows

_SPARE = 16

RowCache = list[tuple[Tensor, Tensor]]
"""Keys and values of one row: for each layer a pair of tensors (heads, t, head size)."""


@dataclass
class DecodeBatch:
    """A batch of r token sequences and the state that the model decodes it with.

    Attributes:
        ids: (r, t) int64, padded on the left.
        model_kwargs: the other inputs of the model's forward pass: cache, attention mask, ...
        logits: (r, v) float32, the logits after the last id; ``None`` if that id has not been read.
        remaining_tokens: how many more tokens each row may get.
    """

    ids: Tensor
    model_kwargs: dict[str, Any]
    logits: Tensor | None
    remaining_tokens: list[int]

    def repeat(self, n: int) -> "DecodeBatch":
        """Each row n times, copies next to each other; changes the cache in place."""
        if n == 1:
            return self
        self.model_kwargs["past_key_values"].batch_repeat_interleave(n)
        index = torch.arange(len(self.ids), device=self.ids.device).repeat_interleave(n)
        return self._select(index, [k for k in self.remaining_tokens for _ in range(n)])

    def clone(self, rows: Sequence[int]) -> "DecodeBatch":
        """Copies of some rows, which share no memory with this batch."""
        index = torch.tensor(rows, device=self.ids.device)
        batch = self._select(index, [self.remaining_tokens[k] for k in rows])
        cache = clone_cache(self.model_kwargs["past_key_values"])
        cache.batch_select_indices(index)
        batch.model_kwargs["past_key_values"] = cache
        return batch

    def _select(self, index: Tensor, remaining_tokens: list[int]) -> "DecodeBatch":
        kwargs = {
            name: x if isinstance(x, Cache) else select_rows(x, index, len(self.ids))
            for name, x in self.model_kwargs.items()
        }
        assert self.logits is not None
        return DecodeBatch(self.ids[index], kwargs, self.logits[index], remaining_tokens)


@dataclass(frozen=True)
class Branch:
    """One sampled continuation of a row.

    Args:
        tokens: the sampled token ids, (t,) int64.
        finished: a stopping criterion of the caller (end of sequence, for example) ended it.
        stopped: it cannot be continued: finished, no tokens remaining, or out of time.
        remaining_tokens: how many more tokens it may get.
        ids: prompt and continuation without padding, (t,) int64; ``None`` if the branch cannot be
            continued.
        cache: keys and values of all ids but the last; ``None`` if the branch cannot be continued.
        position: position id of the last id.
    """

    tokens: Tensor
    finished: bool
    stopped: bool
    remaining_tokens: int
    ids: Tensor | None = None
    cache: RowCache | None = None
    position: int = 0


def select_rows(x: Any, index: Any, rows: int) -> Any:
    """``x[index]`` for a tensor with one entry a row; anything else is returned as it is."""
    if isinstance(x, Tensor) and x.dim() > 0 and x.shape[0] == rows:
        return x[index]
    return x


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
        # A layer that has already dropped positions cannot get them back.
        if type(layer) is DynamicSlidingWindowLayer and _is_complete(layer):
            layer.activate_past_recording()


def _is_complete(layer: DynamicSlidingWindowLayer) -> bool:
    held = layer.keys.shape[-2] if layer.is_initialized and layer.keys is not None else 0
    return held == layer.get_seq_length()


def check_selectable(cache: object, use_cache: bool, strategy_name: str) -> None:
    """Raise unless there is a key-value cache whose rows can be selected.

    Args:
        cache: the model's cache.
        use_cache: the option of that name.
        strategy_name: for the error message.

    Raises:
        ValueError: there is none, or rows of the cache, or of a layer of it, cannot be selected.
    """
    if not use_cache or not hasattr(cache, "batch_select_indices"):
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {type(cache).__name__} with "
            f"use_cache={use_cache}. Allowed are caches with batch_select_indices "
            "(DynamicCache): leave cache_implementation unset and use_cache=True"
        )
    if isinstance(cache, Cache) and not all(
        hasattr(x, "batch_select_indices") for x in cache.layers
    ):
        kinds = sorted({type(layer).__name__ for layer in cache.layers})
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {type(cache).__name__} of "
            f"{', '.join(kinds)}, which cannot be branched. Leave cache_implementation unset, or "
            "use an attention-only model"
        )


def check_branchable(cache: object, strategy_name: str) -> None:
    """Raise if a cache cannot be taken apart into rows.

    Args:
        cache: the model's cache.
        strategy_name: for the error message.

    Raises:
        ValueError: the cache is none, static or quantized, or has layers without a full history.
    """
    layers = cache.layers if isinstance(cache, DynamicCache) else ()
    kinds = sorted({type(layer).__name__ for layer in layers if not _keeps_history(layer)})
    if isinstance(cache, DynamicCache) and not kinds and not cache.offloading:
        return
    got = f"{type(cache).__name__} with {', '.join(kinds)}" if kinds else type(cache).__name__
    raise ValueError(
        f"{strategy_name} branches the key-value cache, which needs a DynamicCache of attention "
        f"layers kept on the device; got {got}. Leave cache_implementation unset and "
        "use_cache=True, pass no past_key_values longer than the model's sliding window, and use a "
        "model without recurrent layers"
    )


def _keeps_history(layer: object) -> bool:
    if type(layer) is DynamicSlidingWindowLayer:
        return layer.record_past
    return type(layer) in (DynamicLayer, PreallocatedLayer)


def clone_cache(cache: Cache) -> Cache:
    """A copy of a cache that shares no memory with it and has no autograd history."""
    held = [x for layer in cache.layers for x in vars(layer).values() if isinstance(x, Tensor)]
    # deepcopy refuses tensors that carry gradients: give it the copies that it would make.
    return copy.deepcopy(cache, {id(x): x.detach().clone() for x in held})


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
        assert isinstance(layer, DynamicLayer) and layer.keys is not None
        assert layer.values is not None
        keys, values = layer.keys[row, :, start:end], layer.values[row, :, start:end]
        taken.append((keys.clone(), values.clone()) if copy else (keys, values))
    return taken


def stack_rows(rows: Sequence[RowCache], config: PreTrainedConfig) -> DynamicCache:
    """A batch cache of rows of any lengths, padded on the left with zeros.

    Returns:
        A ``DynamicCache`` with keys and values (b, heads, max t, head size) in each layer. The
        attention mask has to hide the padding.
    """
    cache = new_cache(config)
    width = max(keys.shape[1] for keys, _ in (row[0] for row in rows))
    for layer in range(len(rows[0])):
        keys = torch.stack([_pad_left(row[layer][0], width) for row in rows])
        values = torch.stack([_pad_left(row[layer][1], width) for row in rows])
        cache.update(keys, values, layer)
    return cache


def _pad_left(states: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[1], 0))


def crop_row(row: RowCache, end: int) -> RowCache:
    """Views of the first ``end`` positions of a row."""
    return [(keys[:, :end], values[:, :end]) for keys, values in row]


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
    positions: Sequence[int] | None = None,
) -> RowBatch:
    """A batch that reads new ids after cached rows of any lengths.

    The pasts are padded on the left and the new ids on the right, so that in every row the new ids
    directly follow the past.

    Args:
        config: the model's config.
        pasts: the cache of each row; empty if all rows begin here.
        new: ids (t,) int64 of each row, on the model's device.
        positions: position id of each row's first new id; ``None``: the length of its past.
    """
    old = [row[0][0].shape[1] for row in pasts] or [0] * len(new)
    before, device = max(old), new[0].device
    ids, new_mask = pad_rows(new, side="right")
    columns = torch.arange(before, device=device)
    old_mask = columns >= before - torch.tensor(old, device=device)[:, None]
    cache = stack_rows(pasts, config) if pasts else new_cache(config)
    starts = torch.tensor(old if positions is None else positions, device=device)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.cat([old_mask.long(), new_mask], dim=1),
        "position_ids": starts[:, None] + torch.arange(ids.shape[1], device=device),
        "past_key_values": cache,
        "use_cache": True,
    }
    spans = [slice(before - held, before + len(row)) for held, row in zip(old, new, strict=True)]
    return RowBatch(inputs, cache, spans)


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
