"""The order of examples: batches of like lengths, decided by the seed and the epoch alone."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

__all__ = ["ByLength"]


class ByLength(Sampler[int]):
    """Every example once an epoch, ``batch`` neighbours of like lengths, the longest first.

    A long solution then does not make short ones pay for its padding. transformers' own sampler
    draws from torch's global state, which dropout moves on: a run that goes on in its second epoch
    would not see the order that it began with.

    Args:
        lengths: of the examples, in tokens.
        batch: examples of an update.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.seed = list(lengths), batch, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order comes next; accelerate's loaders call this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # Seeds beside each other would give epochs of one run to its neighbour.
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from get_length_grouped_indices(self.lengths, self.batch, generator=chance)
