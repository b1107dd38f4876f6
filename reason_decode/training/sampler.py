"""The order of examples: updates drawn at random, by the seed and the epoch alone."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

__all__ = ["LengthSortedSampler"]


class LengthSortedSampler(Sampler[int]):
    """Every example once an epoch; those of an update at random, then the longest first.

    The forward passes of an update are then of like lengths, and a long solution does not make
    short ones pay for its padding; but no update is of one length alone. A solution that is read up
    to its first wrong step is the shorter the earlier that is: sorted farther, an update holds
    nothing but mistakes, the next one none, and what one teaches the other undoes.

    transformers' own samplers draw from torch's global state, which dropout moves on: a run that
    goes on in its second epoch would not see the order that it began with.

    Args:
        lengths: of the examples, in tokens.
        update: examples of an update.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], update: int, seed: int) -> None:
        self.lengths, self.update, self.seed = list(lengths), update, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order comes next; accelerate's loaders call this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # Seeds beside each other would give epochs of one run to its neighbour.
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=chance).tolist()
        for start in range(0, len(order), self.update):
            drawn = order[start : start + self.update]
            yield from sorted(drawn, key=lambda place: -self.lengths[place])
