"""Gate that mixes the positive and the negative LoRA outputs per token, in plain torch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["GateWeights", "LoraBranch", "gated_output"]


class LoraBranch(NamedTuple):
    """A LoRA branch of a linear layer, whose output is ``base + low @ up.T``.

    Args:
        low: (..., r), ``scale * x @ down.T``, dropout included.
        up: (d_out, r).
    """

    low: Tensor
    up: Tensor


class GateWeights(NamedTuple):
    """The weights of a gate, all of one dtype.

    Args:
        query: (m, d_in).
        key: (m, d_out).
        inner: (m, d_out), the first layer of the values.
        outer: (d_out, m), the second layer; zeros leave the base output unchanged.
        beta: upper bound of the weight of the negative branch.
    """

    query: Tensor
    key: Tensor
    inner: Tensor
    outer: Tensor
    beta: float = 0.5


def gated_output(
    base: Tensor, x: Tensor, positive: LoraBranch, negative: LoraBranch, gate: GateWeights
) -> Tensor:
    """``base + w_pos v(h_pos) + w_neg v(h_neg)``, with weights of each token's own.

    With ``h = base + low @ up.T`` and ``v(h) = outer gelu(inner h)``::

        a     = softmax([q . key h_pos, q . key h_neg]),  q = query x
        w_neg = 2 beta a_neg - beta = beta tanh(q . key (h_neg - h_pos) / 2)
        w_pos = 1 - w_neg

    No branch is expanded to the width of the layer: ``base`` cancels in the difference of keys and
    passes ``inner`` once, ``outer`` is linear and applied to the weighted sum, and chains of
    matrices are multiplied in their cheapest order. On top of two LoRA branches that is about ``2 m
    d_out`` multiplications per token, instead of the ``m (d_in + 6 d_out)`` of the formula.

    Args:
        base: (..., d_out), output of the frozen layer.
        x: (..., d_in), input of the layer.
        positive: the branch that is trained with the gate.
        negative: the branch that was trained on wrong samples.
        gate: the weights of the gate.

    Returns:
        (..., d_out) in the dtype of the gate.

    Source: Li et al. 2024, 2312.12832, equations 4 and 5, where the gate is called integration
    unit; in this form Yiwei98/TDG at ca86f56, code/peft_NAT/tuners/lora.py, lines 583 to 594.
    """
    dtype = gate.query.dtype
    flat = base.to(dtype).reshape(-1, base.shape[-1])
    pos, neg = (_flatten(branch, dtype) for branch in (positive, negative))
    # q . key (h_neg - h_pos), as (q key [up_neg, -up_pos]) . [low_neg, low_pos].
    ups = torch.cat([neg.up, -pos.up], dim=1)
    query = torch.linalg.multi_dot(
        [x.to(dtype).reshape(-1, x.shape[-1]), gate.query.T, gate.key, ups]
    )
    difference = (query * torch.cat([neg.low, pos.low], dim=1)).sum(dim=1, keepdim=True)
    w_neg = gate.beta * torch.tanh(difference / 2)
    inner = F.linear(flat, gate.inner)
    v_pos, v_neg = (
        F.gelu(inner + torch.linalg.multi_dot([branch.low, branch.up.T, gate.inner.T]))
        for branch in (pos, neg)
    )
    mixed = v_pos + w_neg * (v_neg - v_pos)
    return (flat + F.linear(mixed, gate.outer)).reshape(base.shape)


def _flatten(branch: LoraBranch, dtype: torch.dtype) -> LoraBranch:
    low = branch.low.to(dtype).reshape(-1, branch.low.shape[-1])
    return LoraBranch(low, branch.up.to(dtype))
