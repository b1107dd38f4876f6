"""Rows of token ids of different lengths as one padded batch."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ["pad_rows"]


def pad_rows(
    rows: Sequence[Sequence[int] | Tensor], *, side: Literal["left", "right"], value: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows of integers as a rectangular batch, with a mask of the entries that are not padding.

    With ``t`` the longest row's length, a row of length n fills the columns ``[0, n)`` if padded on
    the right, and ``[t - n, t)`` if padded on the left.

    Args:
        rows: at least one row; each a sequence of integers or an integer tensor (n,).
        side: the side to pad on: ``"left"`` for ``generate``, ``"right"`` for scoring or training.
        value: the padding value: a token id, or a label such as -100 that losses ignore.

    Returns:
        ``ids`` (b, t) int64 and ``mask`` (b, t) int64, 1 at the rows' entries and 0 at padding; on
        the device of the rows, the CPU for rows that are no tensors.

    Raises:
        ValueError: there are no rows.

    Examples:
        >>> pad_rows([[5, 6, 7], [8]], side="left")
        (tensor([[5, 6, 7],
                [0, 0, 8]]), tensor([[1, 1, 1],
                [0, 0, 1]]))
    """
    if not rows:
        raise ValueError("got no rows to pad; pass at least one")
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    ids = pad_sequence(tensors, batch_first=True, padding_value=value, padding_side=side)
    lengths = torch.tensor([len(row) for row in tensors], device=ids.device)[:, None]
    columns = torch.arange(ids.shape[1], device=ids.device)
    filled = columns < lengths if side == "right" else columns >= ids.shape[1] - lengths
    return ids, filled.long()
