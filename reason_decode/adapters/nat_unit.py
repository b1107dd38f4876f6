"""The integration unit of NAT: what a token is told by two LoRA branches, in plain torch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Branch", "Unit", "integrate"]


class Branch(NamedTuple):
    """A LoRA branch of a linear layer, whose output is ``base + low @ up.T``.

    Args:
        low: (..., r), ``scale * x @ down.T``, dropout included.
        up: (d_out, r).
    """

    low: Tensor
    up: Tensor


class Unit(NamedTuple):
    """The weights of an integration unit, all of one dtype.

    Args:
        query: (m, d_in).
        key: (m, d_out).
        inner: (m, d_out), the first map of the values.
        outer: (d_out, m), the second; zeros leave the base as it is.
        beta: bound of the negative branch's weight.
    """

    query: Tensor
    key: Tensor
    inner: Tensor
    outer: Tensor
    beta: float = 0.5


def integrate(base: Tensor, x: Tensor, positive: Branch, negative: Branch, unit: Unit) -> Tensor:
    """``base + w_pos v(h_pos) + w_neg v(h_neg)``, for each token by itself.

    With ``h = base + low @ up.T`` and ``v(h) = outer gelu(inner h)``::

        a     = softmax([q . key h_pos, q . key h_neg]),  q = query x
        w_neg = 2 beta a_neg - beta = beta tanh(q . key (h_neg - h_pos) / 2)
        w_pos = 1 - w_neg

    No branch is ever as wide as the layer: ``base`` cancels in the difference of keys and goes
    through ``inner`` once, ``outer`` is linear and applied to the weighted sum, and products of
    three matrices and more are done in their cheapest order. On top of two LoRA branches that is
    about ``2 m d_out`` multiplications a token, where the formula as it stands has
    ``m (d_in + 6 d_out)``.

    Args:
        base: (..., d_out), what the frozen layer says.
        x: (..., d_in), its input.
        positive: the branch that is trained with the unit.
        negative: the branch that was trained on wrong samples.
        unit: the weights.

    Returns:
        (..., d_out) in the weights' dtype.

    Source: Li et al. 2024, 2312.12832, equations 4 and 5; in this form Yiwei98/TDG at ca86f56,
    code/peft_NAT/tuners/lora.py, lines 583 to 594.
    """
    dtype = unit.query.dtype
    flat = base.to(dtype).reshape(-1, base.shape[-1])
    pos, neg = (_flat(branch, dtype) for branch in (positive, negative))
    ups = torch.cat([neg.up, -pos.up], dim=1)
    asked = torch.linalg.multi_dot(
        [x.to(dtype).reshape(-1, x.shape[-1]), unit.query.T, unit.key, ups]
    )
    differs = (asked * torch.cat([neg.low, pos.low], dim=1)).sum(dim=1, keepdim=True)
    weight = unit.beta * torch.tanh(differs / 2)
    inner = F.linear(flat, unit.inner)
    right, wrong = (
        F.gelu(inner + torch.linalg.multi_dot([branch.low, branch.up.T, unit.inner.T]))
        for branch in (pos, neg)
    )
    mixed = right + weight * (wrong - right)
    return (flat + F.linear(mixed, unit.outer)).reshape(base.shape)


def _flat(branch: Branch, dtype: torch.dtype) -> Branch:
    return Branch(branch.low.to(dtype).reshape(-1, branch.low.shape[-1]), branch.up.to(dtype))
