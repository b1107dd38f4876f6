"""Hashes of texts that are the same in every process and on every machine, and splits by them."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TypeVar

__all__ = ["split_by_hash", "stable_hash"]

Item = TypeVar("Item")


def stable_hash(text: str) -> int:
    """First 64 bits of the SHA-256 of a text, as an integer in [0, 2**64).

    Args:
        text: the text, hashed as UTF-8.

    Examples:
        >>> stable_hash("1 + 1 =") % 10
        4
    """
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def split_by_hash(
    items: Iterable[Item], key: Callable[[Item], str], share: float
) -> tuple[list[Item], list[Item]]:
    """Items to train on and items to hold out; items with the same key are on the same side.

    The hash of the key decides, so that the split is the same in every run and for every seed.

    Args:
        items: any number.
        key: item -> the text that is hashed.
        share: share of the keys that is held out, in [0, 1).

    Raises:
        ValueError: a share out of range.

    Examples:
        >>> kept, held = split_by_hash(range(1000), str, 0.1)
        >>> len(kept), len(held)
        (894, 106)
    """
    if not 0 <= share < 1:
        raise ValueError(f"got a share of {share} to hold out; it must be at least 0 and below 1")
    kept: list[Item] = []
    held: list[Item] = []
    for item in items:
        (held if stable_hash(key(item)) < share * 2**64 else kept).append(item)
    return kept, held
