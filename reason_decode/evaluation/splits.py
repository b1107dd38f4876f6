"""Splits of solutions into those that calibrate a threshold and those that test it."""

from collections.abc import Sequence
from typing import NamedTuple

from reason_decode.core.hashing import stable_hash

__all__ = ["CalibrationSplit", "k_fold_splits", "other_data_split", "share_split"]


class CalibrationSplit(NamedTuple):
    """Indices of the solutions that calibrate a threshold, and of those that it is tested on.

    Examples:
        >>> CalibrationSplit([1], [0, 2]).test
        [0, 2]
    """

    calibration: list[int]
    test: list[int]


def k_fold_splits(prompts: Sequence[str], folds: int) -> list[CalibrationSplit]:
    """Splits that test every solution once, by a threshold from the other folds.

    Solutions of one prompt are in one fold. The distinct prompts are dealt to the folds in the
    order of their hashes: the folds depend on the set of prompts alone, and their sizes differ by
    one prompt at most.

    Args:
        prompts: the prompt of each solution.
        folds: number of folds.

    Raises:
        ValueError: not ``2 <= folds <=`` the number of distinct prompts.

    Examples:
        >>> [split.test for split in k_fold_splits(["p", "q", "p"], 2)]
        [[0, 2], [1]]
    """
    order = _in_order_of_hash(prompts)
    if not 2 <= folds <= len(order):
        raise ValueError(
            f"got {folds} folds for {len(order)} distinct prompts; need 2 to {len(order)} of "
            "them. With fewer than two prompts, give the threshold or another file to calibrate on"
        )
    fold = {prompt: k % folds for k, prompt in enumerate(order)}
    return [_split([fold[prompt] != k for prompt in prompts]) for k in range(folds)]


def share_split(prompts: Sequence[str], share: float) -> list[CalibrationSplit]:
    """One split that calibrates on a share of the distinct prompts and tests on the rest.

    The prompts of the lowest hashes calibrate: at least one, and not all.

    Args:
        prompts: the prompt of each solution.
        share: share of the prompts, between 0 and 1.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than two prompts.

    Examples:
        >>> share_split(["p", "q", "p"], 0.5)
        [CalibrationSplit(calibration=[0, 2], test=[1])]
    """
    order = _in_order_of_hash(prompts)
    if not 0 < share < 1 or len(order) < 2:
        raise ValueError(
            f"got a share of {share} of {len(order)} distinct prompts to calibrate on; need more "
            "than 0 and less than 1, of at least two prompts"
        )
    chosen = set(order[: min(max(round(share * len(order)), 1), len(order) - 1)])
    return [_split([prompt in chosen for prompt in prompts])]


def other_data_split(tested: Sequence[str], others: Sequence[str]) -> list[CalibrationSplit]:
    """One split that tests on some solutions and calibrates on others, which follow them.

    Others whose prompt is tested, too, are left out.

    Args:
        tested: the prompt of each solution to test on.
        others: the prompt of each solution that follows these.

    Raises:
        ValueError: no solution is left to calibrate on.

    Examples:
        >>> other_data_split(["p", "q"], ["p", "r"])
        [CalibrationSplit(calibration=[3], test=[0, 1])]
    """
    known = set(tested)
    chosen = [k for k, prompt in enumerate(others, start=len(tested)) if prompt not in known]
    if not chosen:
        raise ValueError(
            f"each of the {len(others)} prompts to calibrate on is tested, too; calibrate on "
            "other data, or on folds of these"
        )
    return [CalibrationSplit(chosen, list(range(len(tested))))]


def _in_order_of_hash(prompts: Sequence[str]) -> list[str]:
    return sorted(set(prompts), key=stable_hash)


def _split(calibrates: Sequence[bool]) -> CalibrationSplit:
    indices = range(len(calibrates))
    return CalibrationSplit(
        [k for k in indices if calibrates[k]], [k for k in indices if not calibrates[k]]
    )
