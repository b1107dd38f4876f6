"""Muon in float32: ``torch.optim.Muon`` multiplies in bfloat16, which many processors imitate.

On such a processor torch's takes seconds for a step of the tiny models, ten times what is left of
the step; this one takes a tenth of a second.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonal"]

# Newton-Schulz: of the quintic whose slope at zero is greatest, five times.
_COEFFICIENTS = 3.4445, -4.775, 2.0315
_TIMES = 5
_MOMENTUM = 0.95


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly ``U V^T`` of ``matrix = U S V^T``: singular values between about 0.7 and 1.2.

    Args:
        matrix: floats (rows, columns).

    Source: Jordan 2024, Muon: an optimizer for hidden layers.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_TIMES):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Steps along the momentum of the gradient, made orthogonal.

    ``m = 0.95 m + 0.05 g; w = w (1 - lr * decay) - 0.2 lr sqrt(max(shape)) orthogonal(0.05 g +
    0.95 m)``: as long as AdamW's steps are, so that one learning rate serves both.

    Args:
        params: matrices.
        lr: the learning rate.
        weight_decay: of the weights, each step.

    Source: Jordan 2024; the length, Liu et al. 2025, 2502.16982 §2.2.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the matrices that have a gradient."""
        for group in self.param_groups:
            lr = group["lr"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                momentum = state["momentum_buffer"].lerp_(w.grad, 1 - _MOMENTUM)
                update = orthogonal(w.grad.lerp(momentum, _MOMENTUM))
                w.mul_(1 - lr * group["weight_decay"])
                w.add_(update, alpha=-0.2 * lr * max(w.shape) ** 0.5)
