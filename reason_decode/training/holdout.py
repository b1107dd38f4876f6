"""Held-out examples, chosen by a hash so that every run and every seed holds out the same."""

from collections.abc import Iterable

from reason_decode.core.hashing import split_by_hash
from reason_decode.training.labelled import LabelledSolution

__all__ = ["hold_out"]


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
