"""The shapes of the Triton programs: a table, so that two processes give the same bits.

Which row is taken depends on the processor and the inputs' width, never on how many tokens there
are: a token's result is the same alone and in a batch, and in both contexts of a delta.
"""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

from typing import NamedTuple


class Config(NamedTuple):
    """One shape of ``linear_kernel``.

    Attributes:
        block_t: tokens of a tile.
        block_v: vocabulary of a tile.
        block_h: hidden elements multiplied at a time.
        tiles: tiles of the vocabulary that one program goes through.
        group: tiles of tokens whose programs run side by side.
        warps: of a program.
        stages: of the software pipeline.
    """

    block_t: int
    block_v: int
    block_h: int
    tiles: int
    group: int
    warps: int
    stages: int


# Hopper and the datacentre Blackwell: operands come by tensor descriptors, 147 KiB shared memory.
DESCRIPTORS = Config(128, 256, 64, tiles=4, group=16, warps=8, stages=3)
# Any GPU with at least 164 KiB of shared memory a processor: A100, and Hopper by pointers.
LARGE = Config(128, 128, 64, tiles=8, group=16, warps=8, stages=4)
# Any other, 49 KiB.
SMALL = Config(128, 128, 32, tiles=8, group=16, warps=8, stages=3)
# float32 inputs, multiplied as such; 74 KiB, and 49 KiB.
LARGE_FLOAT32 = Config(64, 128, 32, tiles=8, group=16, warps=8, stages=3)
SMALL_FLOAT32 = Config(64, 64, 32, tiles=16, group=16, warps=4, stages=3)
# Few big steps: the interpreter takes milliseconds for each.
INTERPRETED = Config(16, 64, 32, tiles=2, group=2, warps=4, stages=1)
# Columns of a row of logits that a program reads at a time.
ROW_BLOCK = 4096
ROW_WARPS = 8


def choose(capability: tuple[int, int], bytes_each: int, aligned: bool) -> tuple[Config, bool]:
    """The row for a GPU, and whether operands are fetched by descriptors.

    Args:
        capability: major and minor compute capability; (0, 0) where there is no such thing.
        bytes_each: of one input element.
        aligned: whether addresses, strides and dtypes allow descriptors.
    """
    large = capability in ((8, 0), (9, 0), (10, 0), (10, 3))
    if bytes_each == 4:
        return (LARGE_FLOAT32 if large else SMALL_FLOAT32), False
    if large and capability >= (9, 0) and aligned:
        return DESCRIPTORS, True
    return (LARGE if large else SMALL), False
