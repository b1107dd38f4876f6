"""The operations in plain torch, in blocks of logits that fit into a processor's cache.

Each forward function returns the log-probability of every target and the logsumexp of its row of
logits, which the backward function needs. Rows with an ignored target are not read, and both
results are 0.0 there.
"""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# A block of logits takes 8 MiB in float32, a block of the output matrix in float32 at most 4 MiB.
VOCABULARY_BLOCK = 4096
TOKEN_BLOCK = 512
WEIGHT_BLOCK = 1 << 20
# Elements of the hidden states that are converted to float32 at a time (8 MiB); at least a block of
# tokens.
GROUP = 1 << 21
# Elements of a chunk of logits that were passed in; 4 MiB in float32.
CHUNK = 1 << 20
LOG2E = math.log2(math.e)


def logits_forward(
    logits: Tensor, targets: Tensor, ignore_index: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and logsumexps from logits (..., v), a chunk of rows at a time."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logp = torch.zeros(targets.shape, dtype=dtype, device=logits.device)
    lse = torch.zeros_like(logp)
    flat_logp, flat_lse = logp, lse
    if logits.is_contiguous() and bool((targets != ignore_index).all()):
        # A matrix of contiguous rows is read by slices, without copies.
        logits, targets = logits.view(-1, logits.shape[-1]), targets.reshape(-1)
        flat_logp, flat_lse = logp.view(-1), lse.view(-1)
    for where in _chunks(logits, targets, ignore_index):
        chunk = logits[where].to(dtype)
        if temperature != 1.0:
            chunk = chunk / temperature
        flat_lse[where] = _logsumexp(chunk)
        flat_logp[where] = _gather(chunk, targets[where]) - flat_lse[where]
    return logp, lse


def logits_backward(
    grad: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    ignore_index: int,
    temperature: float,
) -> Tensor:
    """``grad * (one_hot(target) - softmax(logits / temperature)) / temperature``, (..., v)."""
    result = torch.zeros_like(logits)
    for where in _chunks(logits, targets, ignore_index):
        slope = (grad[where] / temperature).unsqueeze(-1)
        share = logits[where].to(lse.dtype) / temperature - lse[where].unsqueeze(-1)
        share = share.exp_().mul_(-slope)
        share.scatter_add_(-1, targets[where].unsqueeze(-1), slope)
        result[where] = share.to(logits.dtype)
    return result


def linear_forward(
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
    fast: bool,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (c, t) of the same targets after each context, and logsumexps (c, t).

    Args:
        contexts: c tensors (t, h), of one dtype.
        weight: (v, h), the output matrix; a block of it is read once for all contexts.
        targets: (t,) int64.
        bias: (v,) or ``None``.
        softcap: bound of the magnitude of a logit, or ``None``.
        ignore_index: target of positions that are left out.
        temperature: divides the logits.
        fast: multiply in the dtype of ``contexts``, which rounds each logit to it.
    """
    dtype = _accumulator(contexts[0], weight)
    logp = torch.zeros(len(contexts), targets.shape[0], dtype=dtype, device=targets.device)
    lse = torch.zeros_like(logp)
    kept = (targets != ignore_index).nonzero().squeeze(-1)
    step = max(TOKEN_BLOCK, GROUP // max(1, weight.shape[1] * len(contexts)))
    for start in range(0, kept.numel(), step):
        rows = kept[start : start + step]
        # A slice gives a view, a list of indices a copy.
        where = slice(start, start + rows.numel()) if kept.numel() == targets.numel() else rows
        states = [context[where] for context in contexts]
        states = states if fast else [state.to(dtype).contiguous() for state in states]
        picked, norm = _group(states, weight, targets[where], bias, softcap, temperature, dtype)
        logp[:, where], lse[:, where] = picked - norm, norm
    return logp, lse


def _group(
    states: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    temperature: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The logit of each target and the logsumexp of its row, (c, g) each.

    The outer loop is over the vocabulary, so that each block of the matrix is converted once.
    """
    picked = torch.full((len(states), targets.shape[0]), torch.nan, dtype=dtype)
    picked = picked.to(targets.device)
    norms = []
    for start, block in _blocks(weight, states[0].dtype):
        shift = None if bias is None else bias[start : start + block.shape[0]].to(dtype)
        local = targets - start
        here = (local >= 0) & (local < block.shape[0])
        local = local.clamp(0, block.shape[0] - 1)
        norm = torch.empty_like(picked)
        for i, state in enumerate(states):
            for t in range(0, targets.shape[0], TOKEN_BLOCK):
                span = slice(t, t + TOKEN_BLOCK)
                logits = _logits(state[span], block, shift, softcap, dtype)
                if temperature != 1.0:
                    logits /= temperature
                logit = _gather(logits, local[span])
                picked[i, span] = logit.where(here[span], picked[i, span])
                norm[i, span] = _logsumexp_(logits)
                del logits  # free it before the next block is made
        norms.append(norm)
    return picked, torch.stack(norms).logsumexp(0)


def linear_backward(
    grads: Tensor,
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    lse: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
) -> tuple[list[Tensor], Tensor, Tensor | None]:
    """Gradients of ``(grads * logp).sum()`` with respect to contexts, weight and bias.

    The blocks of logits are computed again. With softmax p and capped logits y, the gradient with
    respect to the uncapped logit of token v is
    ``grad * (1[v = target] - p_v) / temperature * (1 - (y_v / softcap)**2)``.
    """
    dtype = lse.dtype
    kept = (targets != ignore_index).nonzero().squeeze(-1)
    wanted = targets[kept]
    states = [context[kept].to(dtype) for context in contexts]
    slopes, norms = grads[:, kept].to(dtype) / temperature, lse[:, kept]
    d_states = [torch.zeros_like(state) for state in states]
    d_weight = torch.zeros_like(weight)
    d_bias = None if bias is None else torch.zeros_like(bias)
    for start, block in _blocks(weight, dtype):
        end = start + block.shape[0]
        shift = None if bias is None else bias[start:end].to(dtype)
        d_block = torch.zeros_like(block)
        d_shift = torch.zeros(end - start, dtype=dtype, device=weight.device)
        for i, state in enumerate(states):
            for t in range(0, wanted.shape[0], TOKEN_BLOCK):
                span = slice(t, t + TOKEN_BLOCK)
                logits = _logits(state[span], block, shift, softcap, dtype)
                slope = slopes[i, span].unsqueeze(-1)
                back = (logits / temperature - norms[i, span].unsqueeze(-1)).exp_().mul_(-slope)
                local = wanted[span] - start
                row = ((local >= 0) & (local < end - start)).nonzero().squeeze(-1)
                back[row, local[row]] += slope[row, 0]
                if softcap is not None:
                    back *= 1 - (logits / softcap) ** 2
                d_states[i][span].addmm_(back, block)
                d_block.addmm_(back.T, state[span])
                d_shift += back.sum(0)
        d_weight[start:end] = d_block.to(weight.dtype)
        if d_bias is not None:
            d_bias[start:end] = d_shift.to(d_bias.dtype)
    d_contexts = [torch.zeros_like(context) for context in contexts]
    for whole, part in zip(d_contexts, d_states):  # noqa: B905 - Python 3.9 has no strict=
        whole[kept] = part.to(whole.dtype)
    return d_contexts, d_weight, d_bias


def _accumulator(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """float64 if ``hidden`` or ``weight`` is, else float32."""
    return torch.promote_types(torch.promote_types(hidden.dtype, weight.dtype), torch.float32)


def _chunks(
    logits: Tensor, targets: Tensor, ignore_index: int
) -> Iterator[slice | tuple[Tensor, ...]]:
    """Indices of a chunk of rows after the other: slices for all rows of a matrix, else tensors.

    ``reshape(-1, v)`` is no way out: it would copy all of a view such as ``logits[:, :-1]``.
    """
    rows = max(1, CHUNK // max(1, logits.shape[-1]))
    kept = (targets != ignore_index).nonzero(as_tuple=True)
    count = kept[0].numel()
    for start in range(0, count, rows):
        if logits.dim() == 2 and count == len(targets):
            yield slice(start, start + rows)
        else:
            yield tuple(index[start : start + rows] for index in kept)


def _blocks(weight: Tensor, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """Blocks of rows of the output matrix in ``dtype``, each with the index of its first row."""
    step = VOCABULARY_BLOCK
    if weight.dtype != dtype:
        step = max(1, min(step, WEIGHT_BLOCK // max(1, weight.shape[1])))
    for start in range(0, weight.shape[0], step):
        yield start, weight[start : start + step].to(dtype).contiguous()


def _logits(
    states: Tensor, block: Tensor, shift: Tensor | None, softcap: float | None, dtype: torch.dtype
) -> Tensor:
    """``cap(states @ block.T + shift)`` in new memory."""
    logits = _product(states, block).to(dtype)
    if shift is not None:
        logits += shift
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _product(states: Tensor, block: Tensor) -> Tensor:
    """``states @ block.T``."""
    if states.dtype == torch.float32 and states.device.type == "cpu" and states.numel():
        # On the AMD processor of kernels/README.md, oneDNN's float32 product is faster than MKL's,
        # which torch.mm calls. torch.compile uses this operator as well.
        linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
        if linear is not None and torch.backends.mkldnn.is_available():
            return linear(states, block, None, "none", [], "")
    return states @ block.T


def _gather(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _logsumexp(logits: Tensor) -> Tensor:
    """``logits.logsumexp(-1)``."""
    peak = _finite_peak(logits)
    return _sum_of_powers_(logits - peak).add_(peak.squeeze(-1))


def _logsumexp_(logits: Tensor) -> Tensor:
    """``logits.logsumexp(-1)``; overwrites the logits."""
    peak = _finite_peak(logits)
    return _sum_of_powers_(logits.sub_(peak)).add_(peak.squeeze(-1))


def _finite_peak(logits: Tensor) -> Tensor:
    """The maximum of each row (..., 1), or 0 where it is infinite, since inf - inf is NaN."""
    peak = logits.amax(-1, keepdim=True)
    return torch.where(peak.isfinite(), peak, 0.0)


def _sum_of_powers_(logits: Tensor) -> Tensor:
    """``logits.exp().sum(-1).log()``; overwrites the logits."""
    # On a CPU torch computes exp2 in less than half the time of exp.
    return logits.mul_(LOG2E).exp2_().sum(-1).log_()
