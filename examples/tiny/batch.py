"""A training batch: token ids, and what is to be learnt at each of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

IGNORE = -100


class Batch(NamedTuple):
    """Token ids and four kinds of targets, padded on the right.

    ``ids`` (b, t) int64; ``labels`` (b, t) int64, the token at each place if the language model is
    to learn it, else -100; ``verdicts`` (b, t) int64, 1 (right) or 0 (wrong) at the newline that
    ends a step, else -100, there too if a wrong step ``leaves_held_out_target``; ``results``
    (b, t, 12) int64, where a step leaves two numbers the three digits (10 for none) of each of the
    four results that they make, else -100; ``values`` (b, t, 6) int64, where an expression of a
    chain of equations has ended the sign and the five digits of its value, else -100. Where nothing
    of the last two kinds is ever learnt they may be (b, t, 0).
    """

    ids: Tensor
    labels: Tensor
    verdicts: Tensor
    results: Tensor
    values: Tensor


VERDICTS = ("wrong", "dead end", "right")
WRONG, DEAD_END, RIGHT = range(3)
"""A step that does not follow, one that does but leads nowhere, and one that is right."""
LEGAL = 3
"""A dead end or right: of a dead end that ``leaves_held_out_target`` no more may be learnt."""
DIGITS = 3
"""Of a result; larger ones count as none."""
NO_DIGIT = 10
RESULTS = 4
VALUE = 6
"""A sign and five digits."""


Row = tuple[list[int], list[int], list[int]]
"""Ids, labels and verdicts of one text, all of its length."""
Placed = tuple[int, int, list[int]]
"""Digits to be told, with the row and the place in it."""


def padded(
    rows: Sequence[Row], pad: int, results: Sequence[Placed] = (), values: Sequence[Placed] = ()
) -> Batch:
    """Rows of any lengths as a batch.

    Args:
        rows: at least one.
        pad: the id to pad with.
        results: of two numbers, ``RESULTS * DIGITS`` digits each.
        values: of expressions, ``VALUE`` digits each.
    """
    width = max(len(ids) for ids, _, _ in rows)
    pads = (pad, IGNORE, IGNORE)
    ids, labels, verdicts = (
        torch.tensor([row[c] + [pads[c]] * (width - len(row[c])) for row in rows]) for c in range(3)
    )
    told = [
        _placed(placed, (len(rows), width, digits))
        for placed, digits in ((results, RESULTS * DIGITS), (values, VALUE))
    ]
    return Batch(ids, labels, verdicts, *told)


def _placed(placed: Sequence[Placed], shape: tuple[int, int, int]) -> Tensor:
    whole = torch.full(shape, IGNORE)
    for row, place, digits in placed:
        whole[row, place] = torch.tensor(digits)
    return whole


def as_id(found: object) -> int:
    """A token id whose type transformers leaves open."""
    # Typed by transformers as an id, a list, a string or nothing; here it is always an id.
    assert isinstance(found, int)
    return found
