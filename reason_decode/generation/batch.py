"""A batch of token sequences that is being decoded, and the continuations sampled from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from reason_decode.generation.cache import RowCache, clone_cache

__all__ = ["Branch", "DecodeBatch", "select_rows"]


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
