"""The order of training examples: random batches, the longest example of each batch first."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

__all__ = ["LengthSortedSampler"]


class LengthSortedSampler(Sampler[int]):
    """Every example once per epoch: random groups of one optimizer step, sorted by length within.

    The forward passes of an optimizer step then have examples of similar lengths, and long
    solutions do not pad short ones. The groups themselves are random on purpose: a solution that
    is read up to its first wrong step is the shorter the earlier the step is, so groups of one
    length would hold either only mistakes or none, and each step would undo the one before.

    transformers' own samplers draw from torch's global random state, which dropout advances: a run
    that resumes in its second epoch would not see the order that it started with.

    Args:
        lengths: length of each example, in tokens.
        step_size: examples per optimizer step.
        seed: seed of the order.
    """

    def __init__(self, lengths: Sequence[int], step_size: int, seed: int) -> None:
        self.lengths, self.step_size, self.seed = list(lengths), step_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order comes next; accelerate's data loaders call this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # Not seed + epoch: epoch 1 of seed 0 would have the order of epoch 0 of seed 1.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.step_size):
            group = order[start : start + self.step_size]
            yield from sorted(group, key=lambda index: -self.lengths[index])
