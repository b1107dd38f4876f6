"""Block sizes of the Triton programs.

They are a fixed table and not autotuned, so that two processes give the same bits. The choice
depends on the GPU and the dtypes, never on the number of tokens, so that a token's result is the
same alone, in a batch, and in both contexts of a loss delta.
"""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

from typing import NamedTuple


class Config(NamedTuple):
    """Block sizes of ``linear_kernel``.

    Attributes:
        block_t: number of tokens of a tile.
        block_v: number of vocabulary entries of a tile.
        block_h: number of hidden elements multiplied at a time.
        tiles: number of tiles of the vocabulary that one program works through.
        group: number of tiles of tokens whose programs run side by side.
        warps: number of warps of a program.
        stages: number of stages of the software pipeline.
    """

    block_t: int
    block_v: int
    block_h: int
    tiles: int
    group: int
    warps: int
    stages: int


# Hopper and datacentre Blackwell GPUs, operands loaded by tensor descriptors; 147 KiB of shared
# memory.
DESCRIPTORS = Config(128, 256, 64, tiles=4, group=16, warps=8, stages=3)
# GPUs with at least 164 KiB of shared memory per multiprocessor: A100, and Hopper by pointers.
LARGE = Config(128, 128, 64, tiles=8, group=16, warps=8, stages=4)
# All other GPUs; 49 KiB.
SMALL = Config(128, 128, 32, tiles=8, group=16, warps=8, stages=3)
# float32 inputs, multiplied in float32; 74 KiB and 49 KiB.
LARGE_FLOAT32 = Config(64, 128, 32, tiles=8, group=16, warps=8, stages=3)
SMALL_FLOAT32 = Config(64, 64, 32, tiles=16, group=16, warps=4, stages=3)
# For the interpreter, which takes milliseconds for each step.
INTERPRETED = Config(16, 64, 32, tiles=2, group=2, warps=4, stages=1)
# Columns of a row of logits that a program of logits_kernel reads at a time.
ROW_BLOCK = 4096
ROW_WARPS = 8


def choose(capability: tuple[int, int], bytes_each: int, aligned: bool) -> tuple[Config, bool]:
    """The block sizes for a GPU, and True if operands are loaded by tensor descriptors.

    Args:
        capability: major and minor compute capability; (0, 0) for GPUs that have none.
        bytes_each: bytes of an input element.
        aligned: addresses, strides and dtypes allow descriptors.
    """
    large = capability in ((8, 0), (9, 0), (10, 0), (10, 3))
    if bytes_each == 4:
        return (LARGE_FLOAT32 if large else SMALL_FLOAT32), False
    if large and capability >= (9, 0) and aligned:
        return DESCRIPTORS, True
    return (LARGE if large else SMALL), False
