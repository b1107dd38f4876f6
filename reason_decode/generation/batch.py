"""Batches of token sequences that are being decoded, and their key-value caches.

The rows of a batch share one rectangular cache, with padding between rows of unequal length. A
search branches and drops trajectories at will, so what a model needs of each trajectory is held
apart (``RowCache``, held by a ``Branch``), and the rows that go on are stacked, padded on the left,
into a batch cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

from reason_decode.generation.layers import (
    has_rows,
    is_empty_layer,
    keeps_history,
    layer_states,
    select_cache,
)
from reason_decode.models.inputs import pad_rows


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


class Row(NamedTuple):
    """A row of a batch as plain ``generate`` would hold it.

    Attributes:
        prompt: index of its prompt.
        answer: its new token ids, (t,) int64, without context that the model read besides.
        states: for the place of a logits processor in the call's list its state of the row.
    """

    prompt: int
    answer: Tensor
    states: dict[int, Any]


@dataclass
class DecodeBatch:
    """A batch of r token sequences and the state that the model decodes it with.

    Attributes:
        rows: each row as plain ``generate`` would hold it.
        ids: (r, t) int64, padded on the left: what the model reads.
        model_kwargs: the other inputs of the model's forward pass: cache, attention mask, ...
        logits: (r, v) float32, the logits after the last id; ``None`` if that id has not been read.
        remaining_tokens: how many more tokens each row may get.
        widths: of a batch that has no cache yet, because its rows are to be read from their
            beginning: number of columns of each row; the others in front of them are filled up.
    """

    rows: list[Row]
    ids: Tensor
    model_kwargs: dict[str, Any]
    logits: Tensor | None
    remaining_tokens: list[int]
    widths: list[int] | None = None

    @property
    def is_read(self) -> bool:
        """True if the model has read the ids but the last of each row, or all of them."""
        return self.widths is None

    def parts(self, n: int) -> list[list[int]]:
        """The places of n copies of each row, grouped by what can be read side by side.

        Rows that are to be read from their beginning are not padded to a common width: not every
        recurrent model is blind to padding.
        """
        places = range(len(self.rows) * n)
        if self.widths is None:
            return [[*places]]
        parts: dict[int, list[int]] = {}
        for place in places:
            parts.setdefault(self.widths[place // n], []).append(place)
        return [*parts.values()]

    def trimmed(self) -> "DecodeBatch":
        """The batch without the columns in front of its rows, which are all of one width."""
        assert self.widths is not None
        total, width = self.ids.shape[1], self.widths[0]
        kwargs = {
            name: x[..., -width:] if isinstance(x, Tensor) and x.shape[-1:] == (total,) else x
            for name, x in self.model_kwargs.items()
        }
        mask = kwargs.get("attention_mask")
        if mask is not None and bool(mask.all()):
            kwargs["attention_mask"] = None
        return replace(self, ids=self.ids[:, -width:], model_kwargs=kwargs)

    def select(self, index: Sequence[int]) -> "DecodeBatch":
        """Copies of some rows, which share no memory with this batch; rows may repeat."""
        places = torch.tensor(index, device=self.ids.device)
        return DecodeBatch(
            [self.rows[k] for k in index],
            self.ids[places],
            {
                name: select_cache(x, places)
                if isinstance(x, Cache)
                else select_rows(name, x, places, len(self.ids))
                for name, x in self.model_kwargs.items()
            },
            None if self.logits is None else self.logits[places],
            [self.remaining_tokens[k] for k in index],
            None if self.widths is None else [self.widths[k] for k in index],
        )


@dataclass(frozen=True)
class Branch:
    """One sampled continuation of a row.

    Args:
        tokens: the sampled token ids, (t,) int64.
        finished: a stopping criterion of the caller (end of sequence, for example) ended it.
        stopped: it cannot be continued: finished, no tokens remaining, or out of time.
        remaining_tokens: how many more tokens it may get.
        row: the row with all of its new tokens; ``None`` if the branch cannot be continued.
        ids: all that the model has read or is to read, (t,) int64, without padding, or with that
            of its prompt if it has no cache; ``None`` if the branch cannot be continued.
        cache: what the model needs of all ids but the last; ``None`` if it has to read them again.
        position: position id of the last id, () or one for each axis; ``None`` for models without.
    """

    tokens: Tensor
    finished: bool
    stopped: bool
    remaining_tokens: int
    row: Row | None = None
    ids: Tensor | None = None
    cache: RowCache | None = None
    position: Tensor | None = None


def select_rows(name: str, x: Any, index: Tensor, rows: int) -> Any:
    """The entries of some rows of a model input; what has no entry a row is returned as it is.

    Args:
        name: name of the input. Position ids may have axes in front of the rows (Qwen-VL).
        x: the input.
        index: the rows to select.
        rows: number of rows.
    """
    if not isinstance(x, Tensor) or not x.dim():
        return x
    axis = max(0, x.dim() - 2) if name == "position_ids" else 0
    return x.index_select(axis, index.to(x.device)) if x.shape[axis] == rows else x


def continued_inputs(
    prompt_inputs: dict[str, Any],
    mask: Tensor,
    prompts: Sequence[int],
    prompt_lengths: Sequence[int],
    positions: Tensor | None = None,
) -> dict[str, Any]:
    """The inputs of rows that continue prompts, without ids and cache.

    Args:
        prompt_inputs: the inputs that ``generate`` made for the prompts.
        mask: (r, t) int64, 1 at the ids of each row, which are padded on the left.
        prompts: the prompt of each row.
        prompt_lengths: number of ids of that prompt, without padding.
        positions: position id of each row's last id, (r,) or (axes, r); ``None``: counted from 0.
    """
    inputs = {k: x for k, x in prompt_inputs.items() if not isinstance(x, Tensor | Cache)}
    if "attention_mask" in prompt_inputs:
        inputs["attention_mask"] = None if bool(mask.all()) else mask
    lengths, width = mask.sum(dim=1), mask.shape[1]
    if (own := prompt_inputs.get("position_ids")) is not None:
        last = lengths - 1 if positions is None else positions
        if last.dim() < own.dim() - 1:
            last = last.expand(len(own), -1)
        offsets = torch.arange(1 - width, 1, device=mask.device)
        inputs["position_ids"] = (last[..., None] + offsets).clamp(min=0)
    # As generate() does: new tokens have the type of the last one, and are no image.
    for name, goes_on in (("token_type_ids", 1), ("mm_token_type_ids", 0)):
        if (own := prompt_inputs.get(name)) is not None:
            rows = [
                torch.cat([own[p, -n:], (own[p, -1:] * goes_on).expand(length - n)])
                for p, n, length in zip(prompts, prompt_lengths, lengths.tolist(), strict=True)
            ]
            inputs[name], _ = pad_rows(rows, side="left")
    return inputs


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


def check_branchable(cache: object, strategy_name: str) -> None:
    """Raise if a cache cannot be taken apart into rows.

    Args:
        cache: the model's cache.
        strategy_name: for the error message.

    Raises:
        ValueError: the cache is none, static or quantized, or has layers without a full history.
    """
    layers = cache.layers if isinstance(cache, Cache) else []
    if has_rows(cache) and all(map(keeps_history, layers)):
        return
    kinds = ", ".join(sorted({type(layer).__name__ for layer in layers}))
    got = f"{type(cache).__name__} of {kinds}" if kinds else type(cache).__name__
    raise ValueError(
        f"{strategy_name} branches the key-value cache, which needs a DynamicCache kept on the "
        f"device, of layers whose rows can be taken out and continued; got {got}. Leave "
        "cache_implementation unset and use_cache=True, and pass no past_key_values longer than "
        "the model's sliding window"
    )


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
        states = {name: x[row] for name, x in layer_states(layer).items()}
        keys = values = None
        if isinstance(layer, DynamicLayer) and not is_empty_layer(layer):
            assert layer.keys is not None and layer.values is not None
            keys, values = layer.keys[row, :, start:end], layer.values[row, :, start:end]
        entry = LayerRow(keys, values, states)
        taken.append(_copied(entry) if copy else entry)
    return taken


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
        _write_states(layer, [x.states for x in row])
        if row[0].keys is not None:
            keys = torch.stack([_pad_left(x.keys, width) for x in row])
            values = torch.stack([_pad_left(x.values, width) for x in row])
            layer.update(keys, values)
    return cache


def _write_states(layer: Any, rows: Sequence[dict[tuple[str, int], Tensor]]) -> None:
    """Write the recurrent states of rows into an empty layer."""
    for name, k in rows[0]:
        states = torch.stack([row[name, k] for row in rows])
        if name == "conv_states":
            layer.update_conv_state(states, state_idx=k)
        else:
            layer.update_recurrent_state(states, state_idx=k)
        layer.has_previous_state[k] = True


def _copied(row: LayerRow) -> LayerRow:
    states = {name: x.clone() for name, x in row.states.items()}
    if row.keys is None or row.values is None:
        return LayerRow(None, None, states)
    return LayerRow(row.keys.clone(), row.values.clone(), states)


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
