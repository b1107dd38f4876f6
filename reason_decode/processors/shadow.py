"""A second model that reads along while another one generates."""

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
from reason_decode.models.devices import input_device


class CachedSideModel:
    """Next-token logits of a causal model for rows that mostly grow by a token a call.

    What a row shares with any row of the call before is not read again: rows may be added, dropped,
    reordered and branched in between, as beams and step-wise searches do, and a new generation just
    finds nothing in common. One shadow serves one generation at a time.

    Args:
        model: a causal language model, in evaluation mode from here on.
        need: who asks, for messages.

    Raises:
        ValueError: the model's cache cannot be branched.
    """

    def __init__(self, model: PreTrainedModel, need: str) -> None:
        check_branchable(new_cache(model.config), need)
        self.model = model.eval()
        self.tokens = 0
        """Tokens read so far."""
        self._rows: list[Tensor] = []
        self._cache: DynamicCache | None = None

    @torch.no_grad()
    def logits(self, rows: Sequence[Tensor]) -> Tensor:
        """What comes next after each row.

        Args:
            rows: ids (t,) int64 without padding, at least one each.

        Returns:
            (r, v) float32, on the device of the first row.
        """
        grown = self._cache is not None and len(rows) == len(self._rows)
        if not grown or not all(
            len(new) == len(old) + 1 and torch.equal(new[:-1], old)
            for new, old in zip(rows, self._rows, strict=True)
        ):
            self._catch_up(rows)
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
        self.tokens += len(rows)
        self._rows = [row.clone() for row in rows]
        return outputs.logits[:, -1].float().to(rows[0].device)

    def _catch_up(self, rows: Sequence[Tensor]) -> None:
        """Have all but the last id of each row read, and their caches stacked."""
        found = [self._find(row[:-1]) for row in rows]
        device = input_device(self.model)
        new = [row[k:-1].to(device) for row, (k, _) in zip(rows, found, strict=True)]
        read = [past for _, past in found if past is not None]
        if any(map(len, new)):
            model: Any = self.model  # typed as if its base might be missing
            batch = build_row_batch(model.config, read, new)
            model.base_model(**batch.inputs)
            self.tokens += sum(map(len, new))
            read = [take_row(batch.cache, r, x.start, x.stop) for r, x in enumerate(batch.spans)]
        config = self.model.config
        self._cache = stack_rows(read, config) if read else new_cache(config)

    def _find(self, row: Tensor) -> tuple[int, RowCache | None]:
        """How many of a row's ids were read as the beginning of some row, and the cache of them."""
        if self._cache is None:
            return 0, None
        commons = [_common(row, old) for old in self._rows]
        best = max(range(len(commons)), key=commons.__getitem__)
        start = self._cache.get_seq_length() - len(self._rows[best])
        past = take_row(self._cache, best, start, start + commons[best])
        return commons[best], past


def _common(a: Tensor, b: Tensor) -> int:
    """How many ids two rows share from the start."""
    length = min(len(a), len(b))
    differ = (a[:length] != b[:length]).nonzero()
    return int(differ[0]) if len(differ) else length


def unpadded(input_ids: Tensor, pad: int | None) -> list[Tensor]:
    """The rows of a batch without the padding on their left; at least one id of each stays."""
    if pad is None:
        return list(input_ids)
    real = input_ids != pad
    real[:, -1] = True
    starts = real.int().argmax(dim=1).tolist()
    return [row[start:] for row, start in zip(input_ids, starts, strict=True)]


def pad_id(tokenizer: PreTrainedTokenizerBase, given: int | None) -> int | None:
    """The id that pads rows: the one given, or else the tokenizer's, if it has one."""
    own = tokenizer.pad_token_id if given is None else given
    return own if isinstance(own, int) else None
