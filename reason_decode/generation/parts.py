"""Rows that do not fit side by side: they are sampled one part after the other."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from reason_decode.generation.cache import row_bytes
from reason_decode.generation.sampling import Branch
from reason_decode.io.oom import BatchFailure, run_in_halves
from reason_decode.models.devices import free_memory

__all__ = ["fitting_rows", "sample_in_parts"]


def fitting_rows(cache: Cache, new_tokens: int, most: int) -> int:
    """The number of rows whose caches fill at most half of the free memory, at most ``most``.

    On devices that say when memory runs out it is ``most``.
    """
    tensors = (x for layer in cache.layers for x in vars(layer).values() if isinstance(x, Tensor))
    free = free_memory() if all(x.device.type == "cpu" for x in tensors) else None
    if free is None:
        return most
    return max(1, min(most, int(free / 2 // max(1.0, row_bytes(cache, new_tokens)))))


def sample_in_parts(
    sample: Callable[[Sequence[int]], list[Branch]],
    groups: Sequence[Sequence[int]],
    most: int,
    strategy_name: str,
) -> tuple[list[Branch], int]:
    """The branches of all rows, and the number of rows that memory holds side by side.

    Args:
        sample: returns a branch for each of some rows.
        groups: the rows 0, 1, ..., in groups that may not be mixed.
        most: largest number of rows side by side, if memory holds as many.
        strategy_name: the strategy's class name, for the error message.

    Raises:
        torch.OutOfMemoryError: memory does not suffice for one row.
    """
    found: dict[int, Branch] = {}
    for group in groups:
        waiting = group
        while waiting:
            part, waiting = waiting[:most], waiting[most:]
            for rows, branches in run_in_halves(sample, part):
                if isinstance(branches, BatchFailure):
                    raise torch.OutOfMemoryError(
                        f"{strategy_name} has no memory for one row: {branches.reason}"
                    )
                found |= zip(rows, branches, strict=True)
                if len(rows) < len(part):  # memory holds no more in later parts, too
                    most = min(most, len(rows))
    return [found[row] for row in range(len(found))], most
