"""Log-probabilities of given tokens, from hidden states and the output matrix."""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import torch
from torch import Tensor

# One block of logits, 8 MiB in float32. The vocabulary is the outer loop, so that each block of
# the matrix is widened to float32 once.
VOCABULARY_BLOCK = 4096
TOKEN_BLOCK = 512


def linear_token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Log-probability of each target, the logits being a linear map of the hidden states.

    ``token_logprobs(cap(hidden @ weight.T + bias), targets)`` with
    ``cap(x) = softcap * tanh(x / softcap)``, or the identity where ``softcap`` is ``None``. Logits
    exist for one block of tokens and vocabulary at a time, in float32 (products of bfloat16 or
    float16 inputs are not rounded back), under autocast too.

    Args:
        hidden: (..., h) float16, bfloat16, float32 or float64, of any strides, at least 2-D.
        weight: (v, h), the output matrix.
        targets: (...) int64, in 0..v-1 or ``ignore_index``.
        bias: (v,) or ``None``.
        softcap: bound on the magnitude of a logit, positive, or ``None``.
        ignore_index: the target that marks a position to leave out; it costs no product.

    Returns:
        (...) natural logarithms; float64 if ``hidden`` or ``weight`` is, else float32. NaN and
        infinities among the logits act as in ``token_logprobs``; a target out of range gives NaN.
        Gradients flow to ``hidden``, ``weight`` and ``bias``; while autograd records, it keeps
        every block.
    """
    dtype = torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)
    kept = (targets != ignore_index).nonzero(as_tuple=True)
    states, wanted = hidden[kept].to(dtype), targets[kept]
    picked = torch.full(wanted.shape, torch.nan, dtype=dtype, device=hidden.device)
    normalisers = []
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, weight.shape[0], VOCABULARY_BLOCK):
            rows = weight[start : start + VOCABULARY_BLOCK].to(dtype)
            shift = None if bias is None else bias[start : start + VOCABULARY_BLOCK].to(dtype)
            local = wanted - start
            normaliser, logit = _read_block(states, rows, shift, softcap, local)
            normalisers.append(normaliser)
            picked = torch.where((local >= 0) & (local < rows.shape[0]), logit, picked)
        logprobs = picked - torch.stack(normalisers).logsumexp(0)
    result = torch.zeros(targets.shape, dtype=dtype, device=hidden.device)
    return result.index_put(kept, logprobs)


def _read_block(
    states: Tensor, rows: Tensor, shift: Tensor | None, softcap: float | None, local: Tensor
) -> tuple[Tensor, Tensor]:
    """For each token, the logsumexp of its logits over a block, and its logit at ``local``.

    Args:
        states: (t, h).
        rows: (r, h), the block's part of the output matrix.
        shift: (r,), the block's part of the bias, or ``None``.
        softcap: see ``linear_token_logprobs``.
        local: (t,) int64, targets counted from the block's start; outside 0..r-1 the logit
            returned is some other one.
    """
    index = local.clamp(0, rows.shape[0] - 1).unsqueeze(-1)
    normalisers, logits_at = [], []
    # At least one turn, over no tokens if need be, as in token_logprobs.
    for start in range(0, max(1, states.shape[0]), TOKEN_BLOCK):
        logits = states[start : start + TOKEN_BLOCK] @ rows.T
        if shift is not None:
            logits = logits + shift
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        normalisers.append(logits.logsumexp(-1))
        logits_at.append(logits.gather(-1, index[start : start + TOKEN_BLOCK]).squeeze(-1))
    return torch.cat(normalisers), torch.cat(logits_at)
