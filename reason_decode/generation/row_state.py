"""Logits processors that follow the rows of a strategy.

``generate`` prepares a processor for the rows of one batch. A follower makes of it the processor of
any other rows: with their entries where it holds one for each prompt, and with their states where
it keeps one for each row.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer
from transformers.generation import logits_process as hf

from reason_decode.generation.cache import copy_layers, select_cache
from reason_decode.generation.layers import layer_states

__all__ = ["FOLLOWERS", "AllowedTokens", "Follower", "Guidance", "Processor", "Row"]

Processor = Callable[[Tensor, Tensor], Tensor]
"""Ids (r, t) and scores (r, v) to scores (r, v)."""


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


class Follower(ABC):
    """A processor that needs help to follow its rows.

    Args:
        processor: as ``generate`` prepared it; never changed.
        counts: number of prompts, and number of rows that ``generate`` made of them.
        count: called with the number of tokens that the processor sends through the generator.
    """

    def __init__(
        self, processor: Any, counts: tuple[int, int], count: Callable[[int], None]
    ) -> None:
        self.processor, self.counts, self.count = processor, counts, count

    @abstractmethod
    def bind(self, rows: Sequence[Row]) -> Any:
        """The processor for some rows of equal width; ``states[0]`` is its state of each."""

    def state(self, bound: Any, place: int) -> Any:
        """The state of a bound processor for the row at a place; ``None`` without one."""
        return None

    def index(self, count: int, rows: Sequence[Row]) -> list[int]:
        """For each row its entry among ``count`` of them: one for each prompt, row, or for all."""
        prompts, expanded = self.counts
        if count not in (1, prompts, expanded):
            raise ValueError(
                f"got the logits processor {type(self.processor).__name__} with {count} rows in a "
                f"call of {prompts} prompts; give it one entry for each prompt"
            )
        step = 0 if count == 1 else count // prompts
        return [row.prompt * step for row in rows]


class _PerPrompt(Follower):
    """A processor with one entry for each prompt in some of its attributes."""

    def bind(self, rows: Sequence[Row]) -> Any:
        """The processor with the entries of these rows."""
        bound = copy.copy(self.processor)
        for name in ("prompt_ignore_length", "encoder_input_ids", "generated_ngrams"):
            entries = vars(bound).get(name)
            if isinstance(entries, Tensor | list):
                index = self.index(len(entries), rows)
                own = entries[index] if isinstance(entries, Tensor) else [entries[k] for k in index]
                setattr(bound, name, own)
        if isinstance(bound, hf.EncoderNoRepeatNGramLogitsProcessor):
            bound.batch_size = len(rows)
        return bound


class AllowedTokens:
    """``prefix_allowed_tokens_fn`` of ``generate``, which is asked by the index of a prompt's row.

    Args:
        allowed: given a row's index and its ids (t,), the ids of the tokens that may follow.
    """

    def __init__(self, allowed: Callable[[int, Tensor], list[int]]) -> None:
        self.allowed = allowed


class _AllowedByPrompt(Follower):
    """``prefix_allowed_tokens_fn``, given the index that a row's prompt has in plain generate."""

    def bind(self, rows: Sequence[Row]) -> Any:
        """The function of ``generate``, asked by the rows' prompts."""
        index = self.index(self.counts[1], rows)
        return hf.PrefixConstrainedLogitsProcessor(
            lambda row, ids: self.processor.allowed(index[row], ids), num_beams=1
        )


class Guidance(Follower):
    """Classifier-free guidance, which keeps a key-value cache of a second context for each row."""

    def bind(self, rows: Sequence[Row]) -> Any:
        """Guidance by the second contexts of these rows."""
        bound = copy.copy(self.processor)
        bound.model = self._model
        context = dict(bound.unconditional_context)
        kept: list[Any] = [row.states.get(0) for row in rows]
        if rows and all(kept):
            caches = [x["past_key_values"] for x in kept]
            context = {
                **kept[0],
                "input_ids": torch.cat([x["input_ids"] for x in kept]),
                "attention_mask": torch.cat([x["attention_mask"] for x in kept]),
                "past_key_values": _merge_caches(caches) if all(caches) else None,
            }
        else:
            for name in ("input_ids", "attention_mask"):
                if context[name] is not None:
                    context[name] = context[name][self.index(len(context[name]), rows)]
        bound.unconditional_context = context
        return bound

    def state(self, bound: Any, place: int) -> Any:
        """Context and cache of one row."""
        context = bound.unconditional_context
        cache = context["past_key_values"]
        index = torch.tensor([place], device=context["input_ids"].device)
        return {
            **context,
            "input_ids": context["input_ids"][index],
            "attention_mask": context["attention_mask"][index],
            "past_key_values": None if cache is None else select_cache(cache, index),
        }

    def _model(self, ids: Tensor, **kwargs: Any) -> Any:
        self.count(ids.numel())
        return self.processor.model(ids, **kwargs)


def _merge_caches(caches: Sequence[Cache]) -> Cache:
    """The rows of caches of the same length as one cache."""
    merged = copy_layers(caches[0])
    for k, layer in enumerate(merged.layers):
        same: list[Any] = [cache.layers[k] for cache in caches]
        for name, place in layer_states(layer):
            states = [getattr(x, name)[place] for x in same]
            getattr(layer, name)[place] = torch.cat(states)
        if isinstance(layer, DynamicLayer) and layer.keys is not None:
            layer.keys = torch.cat([x.keys for x in same])
            layer.values = torch.cat([x.values for x in same])
    return merged


class _Watermark(Follower):
    """SynthID's watermark, which keeps the contexts that a row has had."""

    def bind(self, rows: Sequence[Row]) -> Any:
        """The watermark with the contexts of these rows."""
        bound = copy.copy(self.processor)
        bound.state = None
        kept: list[Any] = [row.states.get(0) for row in rows]
        if rows and all(kept):
            bound.state = copy.copy(kept[0])
            bound.state.context = torch.cat([x.context for x in kept])
            bound.state.context_history = torch.cat([x.context_history for x in kept])
        return bound

    def state(self, bound: Any, place: int) -> Any:
        """The contexts of one row."""
        kept = copy.copy(bound.state)
        kept.context = kept.context[place : place + 1]
        kept.context_history = kept.context_history[place : place + 1]
        return kept


FOLLOWERS: dict[type, type[Follower]] = {
    hf.UnbatchedClassifierFreeGuidanceLogitsProcessor: Guidance,
    hf.SynthIDTextWatermarkLogitsProcessor: _Watermark,
    hf.RepetitionPenaltyLogitsProcessor: _PerPrompt,
    hf.EncoderRepetitionPenaltyLogitsProcessor: _PerPrompt,
    hf.EncoderNoRepeatNGramLogitsProcessor: _PerPrompt,
    AllowedTokens: _AllowedByPrompt,
}
"""Class of a processor -> its follower; a processor of any other class is the same for all rows."""
