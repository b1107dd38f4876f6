"""A second model that reads the rows of a running generation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.generation.cache import (
    RowCache,
    build_row_batch,
    check_branchable,
    new_cache,
    preallocate_cache,
    stack_rows,
    take_row,
)
from reason_decode.models.inputs import input_device

__all__ = ["CachedSideModel", "pad_id", "unpadded"]


class CachedSideModel:
    """Next-token logits of a causal model, for rows that mostly grow by one token a call.

    The ids that a row shares with any row of the previous call are not read again. So rows may be
    added, dropped, reordered and branched between calls, as beams and step-wise searches do. The
    rows of a new generation share nothing with the old ones and are read from the beginning. One
    object serves one generation at a time.

    Args:
        model: a causal language model; it is set to evaluation mode.
        owner: name of the class that uses it, for error messages.

    Attributes:
        tokens_read: number of tokens read so far.

    Raises:
        ValueError: the model's cache cannot be branched.
    """

    def __init__(self, model: PreTrainedModel, owner: str) -> None:
        check_branchable(new_cache(model.config), owner)
        self.model = model.eval()
        self.tokens_read = 0
        self._rows: list[Tensor] = []
        # Keys and values of all ids of ``_rows`` but the last, which ``logits`` reads.
        self._cache: DynamicCache | None = None

    @torch.no_grad()
    def logits(self, rows: Sequence[Tensor]) -> Tensor:
        """The logits after the last id of each row.

        Args:
            rows: ids (t,) int64 without padding, at least one id in each.

        Returns:
            (r, v) float32, on the device of the first row.
        """
        if not self._grown_by_one(rows):
            self._read_up_to_last(rows)
        preallocate_cache(self._cache)
        device = input_device(self.model)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        width = int(lengths.max())
        outputs = self.model(
            input_ids=torch.stack([row[-1:] for row in rows]).to(device),
            attention_mask=(torch.arange(width, device=device) >= width - lengths[:, None]).long(),
            position_ids=lengths[:, None] - 1,
            past_key_values=self._cache,
            use_cache=True,
        )
        self.tokens_read += len(rows)
        self._rows = [row.clone() for row in rows]
        return outputs.logits[:, -1].float().to(rows[0].device)

    def _grown_by_one(self, rows: Sequence[Tensor]) -> bool:
        """True if each row is the row in its place at the previous call, plus one id."""
        return (
            self._cache is not None
            and len(rows) == len(self._rows)
            and all(
                len(new) == len(old) + 1 and torch.equal(new[:-1], old)
                for new, old in zip(rows, self._rows, strict=True)
            )
        )

    def _read_up_to_last(self, rows: Sequence[Tensor]) -> None:
        """Make ``_cache`` hold all but the last id of each row; read only what is new."""
        found = [self._longest_prefix(row[:-1]) for row in rows]
        device = input_device(self.model)
        new = [row[k:-1].to(device) for row, (k, _) in zip(rows, found, strict=True)]
        pasts = [past for _, past in found if past is not None]
        if any(map(len, new)):
            model: Any = self.model  # transformers types base_model as possibly missing
            batch = build_row_batch(model.config, pasts, new)
            model.base_model(**batch.inputs)
            self.tokens_read += sum(map(len, new))
            pasts = [take_row(batch.cache, r, x.start, x.stop) for r, x in enumerate(batch.spans)]
        config = self.model.config
        self._cache = stack_rows(pasts, config) if pasts else new_cache(config)

    def _longest_prefix(self, row: Tensor) -> tuple[int, RowCache | None]:
        """Length of the longest beginning of a row that is in the cache, and its cache."""
        if self._cache is None:
            return 0, None
        lengths = [_common_prefix(row, old) for old in self._rows]
        best = max(range(len(lengths)), key=lengths.__getitem__)
        start = self._cache.get_seq_length() - len(self._rows[best])
        past = take_row(self._cache, best, start, start + lengths[best])
        return lengths[best], past


def _common_prefix(a: Tensor, b: Tensor) -> int:
    """Number of ids that two rows share from the start."""
    length = min(len(a), len(b))
    differ = (a[:length] != b[:length]).nonzero()
    return int(differ[0]) if len(differ) else length


def unpadded(input_ids: Tensor, pad: int | None) -> list[Tensor]:
    """The rows of a batch (r, t) without the padding on their left; each keeps at least one id."""
    if pad is None:
        return list(input_ids)
    real = input_ids != pad
    real[:, -1] = True
    starts = real.int().argmax(dim=1).tolist()
    return [row[start:] for row, start in zip(input_ids, starts, strict=True)]


def pad_id(tokenizer: PreTrainedTokenizerBase, pad_token_id: int | None) -> int | None:
    """``pad_token_id``, or else the padding id of the tokenizer if it has one."""
    found = tokenizer.pad_token_id if pad_token_id is None else pad_token_id
    return found if isinstance(found, int) else None
