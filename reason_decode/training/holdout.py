"""Held-out examples, chosen by a hash so that every run and every seed holds out the same."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from reason_decode.training.labelled import LabelledSolution

__all__ = ["hold_out", "split_by_hash"]

Item = TypeVar("Item")


def hold_out(
    solutions: Iterable[LabelledSolution], share: float
) -> tuple[list[LabelledSolution], list[LabelledSolution]]:
    """Solutions to train on and solutions to hold out, split by prompt.

    Args:
        solutions: any number.
        share: share of the prompts that is held out, in [0, 1).

    Raises:
        ValueError: a share out of range.

    Examples:
        >>> from reason_decode.training import LabelledSolution, hold_out
        >>> solutions = [LabelledSolution(f"{k} + 1 =", (), ()) for k in range(100)]
        >>> [len(side) for side in hold_out(solutions, 0.1)]
        [93, 7]
    """
    return split_by_hash(solutions, lambda solution: solution.prompt, share)


def split_by_hash(
    items: Iterable[Item], key: Callable[[Item], str], share: float
) -> tuple[list[Item], list[Item]]:
    """Items to train on and items to hold out; items with the same key are on the same side.

    Args:
        items: any number.
        key: item -> the text that is hashed.
        share: share of the keys that is held out, in [0, 1).

    Raises:
        ValueError: a share out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"got a share of {share} to hold out; it must be at least 0 and below 1")
    kept: list[Item] = []
    held: list[Item] = []
    for item in items:
        digest = hashlib.sha256(key(item).encode()).digest()
        fraction = int.from_bytes(digest[:8], "big") / 2**64
        (held if fraction < share else kept).append(item)
    return kept, held
