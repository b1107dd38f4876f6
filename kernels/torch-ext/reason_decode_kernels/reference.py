"""The same functions in as few lines as possible, for reading and for tests in float64.

All matrices are held as a whole. Unchecked; arguments are documented in ``reason_decode.kernels``.
"""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import torch
from torch import Tensor


def token_logprobs(
    logits: Tensor, targets: Tensor, ignore_index: int = -100, temperature: float = 1.0
) -> Tensor:
    """``log_softmax(logits / temperature, -1)`` at the targets, 0.0 where ignored."""
    kept = targets != ignore_index
    logp = (logits / temperature).log_softmax(-1)
    picked = logp.gather(-1, targets.where(kept, 0).unsqueeze(-1)).squeeze(-1)
    return picked.where(kept, 0.0)


def linear_token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
) -> Tensor:
    """``token_logprobs(cap(hidden @ weight.T + bias), targets)``."""
    logits = hidden @ weight.T
    if bias is not None:
        logits = logits + bias
    if softcap is not None:
        logits = softcap * (logits / softcap).tanh()
    return token_logprobs(logits, targets, ignore_index, temperature)


def discounted(delta: Tensor, scored: Tensor, segments: Tensor, discount: float) -> Tensor:
    """For each segment ``sum_i discount**i delta_i``, and this over ``sum_i discount**i``: (k, 2).

    i counts all tokens of a segment from 0; both sums are over the ``scored`` ones.
    """
    rows = []
    for start, end in zip(segments[:-1].tolist(), segments[1:].tolist(), strict=True):
        weights = discount ** torch.arange(end - start).to(delta) * scored[start:end]
        total = (weights * delta[start:end]).sum()
        rows.append(torch.stack([total, total / weights.sum() if weights.any() else 0 * total]))
    return torch.stack(rows) if rows else delta.new_zeros(0, 2)
