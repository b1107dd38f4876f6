"""Verdicts on steps as data sets write them: booleans, numbers, signs, and probabilities."""

from collections.abc import Sequence
from typing import Any

from reason_decode.training.labelled import Label

__all__ = ["THRESHOLD", "step_labels", "verdict"]

THRESHOLD = 0.5
"""Probability above which a soft label counts as right."""

_SIGNS = {"+": 1, "-": -1}


def step_labels(
    values: Sequence[Any], threshold: float = THRESHOLD, *, signed: bool = True
) -> tuple[tuple[Label, ...], tuple[float | None, ...]]:
    """The labels of a row, and the probabilities behind them if they are soft.

    Labels are soft if one of them lies between 0 and 1, as shares of right rollouts do: then a step
    is right if its probability is above the threshold.

    Args:
        values: true, 1 or ``+`` for right; false, 0, -1 or ``-`` for wrong; null for unknown; or
            probabilities.
        threshold: probability above which a step is right, in [0, 1).
        signed: allow -1, where no other label of the row is 0.

    Returns:
        The labels; and the probabilities, empty for labels that are not soft.

    Raises:
        ValueError: another value, or 0 beside -1, where 0 would mean neutral.

    Source: Wang et al. 2023, 2312.08935, section 3.3: soft estimation, and hard estimation with a
        threshold of 0.

    Examples:
        >>> step_labels(["+", "-", None])
        ((1, -1, None), ())
        >>> step_labels([1.0, 0.25])
        ((1, -1), (1.0, 0.25))
    """
    if any(isinstance(x, float) and 0 < x < 1 for x in values):
        soft = tuple(map(_probability, values))
        return tuple(None if x is None else 1 if x > threshold else -1 for x in soft), soft
    negative = any(_is_number(x) and x == -1 for x in values)
    if negative and (not signed or any(_is_number(x) and x == 0 for x in values)):
        raise ValueError(
            "got the label -1 where 0 is wrong, or beside 0, which would mean neutral; allowed are "
            "true, false, 1, 0 (wrong) and null. Ratings of -1, 0 and 1 are read from the PRM800K "
            "format"
        )
    return tuple(map(verdict, values)), ()


def verdict(value: Any) -> Label:
    """The label of one value that is not a probability; see ``step_labels``.

    Raises:
        ValueError: it is no verdict.

    Examples:
        >>> verdict(True), verdict(0), verdict("+"), verdict(None)
        (1, -1, 1, None)
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip() in _SIGNS:
        return _SIGNS[value.strip()]
    # Some data sets have 1.0 and 0.0.
    if isinstance(value, int | float) and value in (0, 1, -1):
        return 1 if value == 1 else -1
    raise ValueError(
        f"got the label {value!r:.60}; allowed are true, 1 and '+' (right), false, 0, -1 and '-' "
        "(wrong), null, and probabilities from 0 to 1"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _probability(value: Any) -> float | None:
    if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError(
            f"got the label {value!r:.60} beside probabilities; need numbers from 0 to 1, or null"
        )
    return None if value is None else float(value)
