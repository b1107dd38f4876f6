"""How much a context lowers the loss of what follows, token by token and segment by segment."""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

from typing import NamedTuple

import torch
from torch import Tensor

from .linear_token_logprobs import contexts_token_logprobs


class LossDelta(NamedTuple):
    """What ``loss_delta`` returns; t tokens in k segments, float32 (or float64) in nats.

    Attributes:
        logp_with: (t,) log-probability of each token after the first context.
        logp_without: (t,) the same after the second.
        delta: (t,) ``logp_with - logp_without``: positive where the first context lowers the loss.
        sums: (k,) ``sum_i discount**i * delta_i`` over the i-th tokens of a segment.
        means: (k,) ``sums`` over ``sum_i discount**i``; 0.0 in a segment with no scored token.
        keep: (k,) bool, ``sums >= threshold``; never a segment with no scored token, or of NaN.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import loss_delta
        >>> weight, targets = torch.eye(4), torch.tensor([1, 2])
        >>> told, untold = weight[targets], torch.zeros(2, 4)
        >>> loss_delta(told, untold, weight, targets, torch.tensor([0, 2])).delta
        tensor([0.6426, 0.6426])
    """

    logp_with: Tensor
    logp_without: Tensor
    delta: Tensor
    sums: Tensor
    means: Tensor
    keep: Tensor


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
    """Log-probabilities of the same tokens after two contexts, and what the first one gains.

    ``delta = linear_token_logprobs(hidden_with, ...) - linear_token_logprobs(hidden_without, ...)``
    summed over each segment with weight ``discount**i`` for its i-th token. Both contexts take one
    pass over the output matrix.

    Args:
        hidden_with: (t, h), the states that predict ``targets`` after the first context.
        hidden_without: (t, h), of the same dtype, after the second.
        weight: (v, h), the output matrix.
        targets: (t,) int64, in 0..v-1 or ``ignore_index``, which counts as a place in its segment
            but adds nothing.
        segments: (k + 1,) int64, where each segment starts, and the end of the last: from 0 to t,
            never falling; a segment may be empty.
        discount: in (0, 1].
        threshold: nats; one number, or (k,) one for each segment.
        bias: see ``linear_token_logprobs``, as all that follow.
        softcap: as there.
        ignore_index: as there.
        temperature: as there.
        fast: as there.
        backend: as there.

    Returns:
        A ``LossDelta``. Gradients flow to both contexts, ``weight`` and ``bias``.

    Source: the filter of RATIONALYST, section 3 (arXiv 2410.01044); its code sums and never
    averages (JHU-CLSP/rationalyst, filter with ``0.9**i``).
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
    # Where both contexts find a token impossible, neither helped: -inf - -inf would be NaN.
    delta = torch.where(
        (logp_with == logp_without) & logp_with.isinf(), 0.0, logp_with - logp_without
    )
    sums, weights = discounted(delta, targets != ignore_index, segments, discount)
    means = torch.where(weights > 0, sums / weights.clamp(min=torch.finfo(sums.dtype).tiny), 0.0)
    keep = (weights > 0) & (sums >= threshold)
    return LossDelta(logp_with, logp_without, delta, sums, means, keep)


def discounted(
    delta: Tensor, scored: Tensor, segments: Tensor, discount: float
) -> tuple[Tensor, Tensor]:
    """``sum_i discount**i delta_i`` and ``sum_i discount**i`` of each segment, scored tokens only.

    Args:
        delta: (t,) float32 or float64.
        scored: (t,) bool.
        segments: (k + 1,) int64 offsets.
        discount: in (0, 1].

    Returns:
        Two (k,) of the dtype of ``delta``. Each segment is added up in order by one thread on a
        GPU, so that two runs give the same bits.
    """
    lengths = segments.diff()
    starts = segments[:-1].repeat_interleave(lengths, output_size=delta.shape[0])
    place = torch.arange(delta.shape[0], device=delta.device) - starts
    weights = scored * torch.pow(discount, place.to(delta.dtype))
    # A token that is left out adds nothing, whatever its delta is.
    weighted = torch.where(scored, weights * delta, 0.0)
    return (
        torch.segment_reduce(weighted, "sum", offsets=segments, initial=0.0),
        torch.segment_reduce(weights, "sum", offsets=segments, initial=0.0),
    )
