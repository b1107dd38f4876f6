"""The Muon optimizer in float32, for processors without bfloat16 instructions.

``torch.optim.Muon`` multiplies in bfloat16. Emulated, that takes seconds for one step of the tiny
models, ten times the rest of the step; this optimizer takes a tenth of a second.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalize"]

# Newton-Schulz iteration with the quintic that has the greatest slope at zero.
_COEFFICIENTS = 3.4445, -4.775, 2.0315
_ITERATIONS = 5
_MOMENTUM = 0.95


def orthogonalize(matrix: Tensor) -> Tensor:
    """``U V^T`` of ``matrix = U S V^T``, approximately: singular values are about 0.7 to 1.2.

    Args:
        matrix: (rows, columns) float32.

    Source: Jordan 2024, Muon: an optimizer for hidden layers.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Optimizer that steps along the orthogonalized momentum of the gradient.

    ``m = 0.95 m + 0.05 g; w = w (1 - lr * decay) - 0.2 lr sqrt(max(shape)) orthogonalize(0.05 g +
    0.95 m)``. The steps are as long as those of AdamW, so that one learning rate serves both.

    Args:
        params: matrices.
        lr: the learning rate.
        weight_decay: weight decay per step, times ``lr``.

    Source: Jordan 2024; the step length, Liu et al. 2025, 2502.16982 §2.2.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update the matrices that have a gradient."""
        for group in self.param_groups:
            lr = group["lr"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                momentum = state["momentum_buffer"].lerp_(w.grad, 1 - _MOMENTUM)
                update = orthogonalize(w.grad.lerp(momentum, _MOMENTUM))
                w.mul_(1 - lr * group["weight_decay"])
                w.add_(update, alpha=-0.2 * lr * max(w.shape) ** 0.5)
