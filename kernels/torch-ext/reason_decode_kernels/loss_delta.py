"""The loss that one context saves over another on the same tokens."""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

from typing import NamedTuple

import torch
from torch import Tensor

from .linear_token_logprobs import contexts_token_logprobs


class LossDelta(NamedTuple):
    """The result of ``loss_delta`` for t tokens in k segments; float32 or float64, in nats.

    Attributes:
        logp_with: (t,), log-probability of each token after the first context.
        logp_without: (t,), log-probability of each token after the second context.
        delta: (t,), ``logp_with - logp_without``, positive where the first context saves loss.
        sums: (k,), ``sum_i discount**i * delta_i`` over the i-th tokens of a segment.
        means: (k,), ``sums`` divided by ``sum_i discount**i``; 0.0 for a segment in which no token
            is scored.
        passed: (k,) bool, ``sums >= threshold``; False for a segment in which no token is scored,
            or with a NaN.

    Examples:
        >>> import torch
        >>> from reason_decode.kernels import loss_delta
        >>> weight, targets = torch.eye(4), torch.tensor([1, 2])
        >>> helped, plain = weight[targets], torch.zeros(2, 4)
        >>> loss_delta(helped, plain, weight, targets, torch.tensor([0, 2])).delta
        tensor([0.6426, 0.6426])
    """

    logp_with: Tensor
    logp_without: Tensor
    delta: Tensor
    sums: Tensor
    means: Tensor
    passed: Tensor


def loss_delta(
    hidden_with: Tensor,
    hidden_without: Tensor,
    weight: Tensor,
    targets: Tensor,
    segments: Tensor,
    *,
    discount: float = 0.9,
    threshold: float | Tensor = 0.0,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    fast: bool = False,
    backend: str = "torch",
) -> LossDelta:
    """Loss that the first context saves over the second, by token and by segment; unchecked.

    See ``reason_decode.kernels.loss_delta``.
    """
    logp_with, logp_without = contexts_token_logprobs(
        [hidden_with, hidden_without],
        weight,
        targets,
        bias,
        softcap,
        ignore_index,
        temperature,
        fast,
        backend,
    ).unbind(0)
    # A token with probability 0 after both contexts has a delta of 0; -inf - -inf would be NaN.
    delta = torch.where(
        (logp_with == logp_without) & logp_with.isinf(), 0.0, logp_with - logp_without
    )
    sums, weights = discounted(delta, targets != ignore_index, segments, discount)
    means = torch.where(weights > 0, sums / weights.clamp(min=torch.finfo(sums.dtype).tiny), 0.0)
    passed = (weights > 0) & (sums >= threshold)
    return LossDelta(logp_with, logp_without, delta, sums, means, passed)


def discounted(
    delta: Tensor, scored: Tensor, segments: Tensor, discount: float
) -> tuple[Tensor, Tensor]:
    """``sum_i discount**i delta_i`` and ``sum_i discount**i`` over each segment's scored tokens.

    Args:
        delta: (t,) float32 or float64.
        scored: (t,) bool.
        segments: (k + 1,) int64 offsets, non-decreasing, from 0 to t.
        discount: in (0, 1].

    Returns:
        Two tensors (k,) of the dtype of ``delta``. On a GPU one thread adds up a segment in order,
        so that two runs give the same bits.
    """
    lengths = segments.diff()
    starts = segments[:-1].repeat_interleave(lengths, output_size=delta.shape[0])
    place = torch.arange(delta.shape[0], device=delta.device) - starts
    weights = scored * torch.pow(discount, place.to(delta.dtype))
    # The delta of a token that is left out may be NaN, and 0 * NaN is NaN.
    weighted = torch.where(scored, weights * delta, 0.0)
    return (
        torch.segment_reduce(weighted, "sum", offsets=segments, initial=0.0),
        torch.segment_reduce(weights, "sum", offsets=segments, initial=0.0),
    )
