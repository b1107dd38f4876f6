"""Training batches: token ids, and the targets of each head at each token."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reason_decode.models.inputs import pad_rows
from reason_decode.training.examples import IGNORE

VERDICTS = ("wrong", "dead end", "right")
WRONG, DEAD_END, RIGHT = range(3)
"""Classes of the verdict head: a step that is not valid, one that leads nowhere, a right one."""
VALID = 3
"""Target for "dead end or right", of a dead end that ``leaves_held_out_target``."""
RESULTS = 4
"""Results of two numbers that are learnt: sum, difference, product, quotient."""
DIGITS = 3
"""Digits of a result; a larger result counts as none."""
NO_DIGIT = 10
VALUE = 6
"""Targets of an expression's value: a sign and five digits."""

Row = tuple[list[int], list[int], list[int]]
"""Ids, labels and verdicts of one text, each as long as the text."""
DigitTarget = tuple[int, int, list[int]]
"""Row and column of a token, and the digits to be predicted there."""


class Batch(NamedTuple):
    """Token ids and four kinds of targets, padded on the right.

    Attributes:
        ids: (b, t) int64.
        labels: (b, t) int64, the token itself if the language model learns it, else ``IGNORE``.
        verdicts: (b, t) int64, ``WRONG``, ``DEAD_END``, ``RIGHT`` or ``VALID`` at the newline that
            ends a step, else ``IGNORE``.
        results: (b, t, 12) int64, at the newline of a step that leaves two numbers the three digits
            (``NO_DIGIT`` for none) of each of their four results, else ``IGNORE``; (b, t, 0) in
            batches that have none.
        values: (b, t, 6) int64, at the end of an expression in a chain of equations its sign and
            five digits, else ``IGNORE``; (b, t, 0) in batches that have none.
    """

    ids: Tensor
    labels: Tensor
    verdicts: Tensor
    results: Tensor
    values: Tensor


def make_batch(
    rows: Sequence[Row],
    pad_id: int,
    results: Sequence[DigitTarget] = (),
    values: Sequence[DigitTarget] = (),
) -> Batch:
    """Rows of any lengths as one batch.

    Args:
        rows: at least one.
        pad_id: the token id to pad with.
        results: targets of two numbers' results, ``RESULTS * DIGITS`` digits each.
        values: targets of expressions' values, ``VALUE`` digits each.
    """
    ids, labels, verdicts = (
        pad_rows([row[k] for row in rows], side="right", value=padding)[0]
        for k, padding in enumerate((pad_id, IGNORE, IGNORE))
    )
    return Batch(
        ids,
        labels,
        verdicts,
        _digit_targets(results, (*ids.shape, RESULTS * DIGITS)),
        _digit_targets(values, (*ids.shape, VALUE)),
    )


def _digit_targets(targets: Sequence[DigitTarget], shape: tuple[int, ...]) -> Tensor:
    digits = torch.full(shape, IGNORE)
    for row, column, target in targets:
        digits[row, column] = torch.tensor(target)
    return digits


def token_id(found: object) -> int:
    """A token id that transformers types as an id, a list, a string or nothing."""
    assert isinstance(found, int)
    return found
