"""Which solutions a threshold is calibrated on, so that it is tested on others only."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

__all__ = ["Part", "folds", "held_out", "share"]


class Part(NamedTuple):
    """Places of solutions: which a threshold is calibrated on, and which it is then tested on."""

    calibrated: list[int]
    tested: list[int]


def folds(prompts: Sequence[str], count: int) -> list[Part]:
    """Every solution is tested once, by a threshold from the other folds.

    Solutions of one prompt are in one fold. Distinct prompts are dealt out in the order of their
    SHA-256, so that folds depend on the set of prompts alone and are of like size.

    Args:
        prompts: one a solution.
        count: how many folds.

    Raises:
        ValueError: not ``2 <= count <=`` the number of distinct prompts.

    Example:
        >>> [part.tested for part in folds(["p", "q", "p"], 2)]
        [[0, 2], [1]]
    """
    order = _dealt(prompts)
    if not 2 <= count <= len(order):
        raise ValueError(
            f"got {count} folds for {len(order)} distinct prompts; need 2 to {len(order)} of "
            "them. With fewer than two prompts, give the threshold or another file to calibrate on"
        )
    fold = {prompt: place % count for place, prompt in enumerate(order)}
    return [_part([fold[prompt] != k for prompt in prompts]) for k in range(count)]


def share(prompts: Sequence[str], size: float) -> list[Part]:
    """One part: calibrated on a share of the distinct prompts, tested on the rest.

    The first ones in the order of their SHA-256 are calibrated on, at least one and not all.

    Args:
        prompts: one a solution.
        size: the share, between 0 and 1.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than two prompts.

    Example:
        >>> share(["p", "q", "p"], 0.5)
        [Part(calibrated=[0, 2], tested=[1])]
    """
    order = _dealt(prompts)
    if not 0 < size < 1 or len(order) < 2:
        raise ValueError(
            f"got a share of {size} of {len(order)} distinct prompts to calibrate on; need more "
            "than 0 and less than 1, of at least two prompts"
        )
    chosen = set(order[: min(max(round(size * len(order)), 1), len(order) - 1)])
    return [_part([prompt in chosen for prompt in prompts])]


def held_out(tested: Sequence[str], others: Sequence[str]) -> list[Part]:
    """One part: ``others``, which follow ``tested``, are calibrated on.

    A prompt that is tested too is left out of those.

    Args:
        tested: prompts, one a solution.
        others: those of the solutions behind them.

    Raises:
        ValueError: nothing is left to calibrate on.

    Example:
        >>> held_out(["p", "q"], ["p", "r"])
        [Part(calibrated=[3], tested=[0, 1])]
    """
    known = set(tested)
    chosen = [k for k, prompt in enumerate(others, start=len(tested)) if prompt not in known]
    if not chosen:
        raise ValueError(
            f"each of the {len(others)} prompts to calibrate on is tested too; calibrate on "
            "other data, or on folds of these"
        )
    return [Part(chosen, list(range(len(tested))))]


def _dealt(prompts: Sequence[str]) -> list[str]:
    return sorted(set(prompts), key=lambda prompt: sha256(prompt.encode()).digest())


def _part(calibrated: Sequence[bool]) -> Part:
    places = range(len(calibrated))
    return Part([k for k in places if calibrated[k]], [k for k in places if not calibrated[k]])
