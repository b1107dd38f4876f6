"""Log-probabilities of given tokens, from logits."""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import torch
from torch import Tensor

from . import torch_backend
from .namespace import add_op_namespace_prefix


def token_logprobs(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    temperature: float = 1.0,
    backend: str = "torch",
) -> Tensor:
    """``log_softmax(logits / temperature, -1)`` at the targets, 0.0 where ignored; unchecked.

    See ``reason_decode.kernels.token_logprobs``.
    """
    return _token_logprobs(logits, targets, ignore_index, temperature, backend)[0]


@torch.library.custom_op(
    add_op_namespace_prefix("token_logprobs"),
    mutates_args=(),
    schema="(Tensor logits, Tensor targets, int ignore_index, float temperature, str backend)"
    " -> (Tensor, Tensor)",
)
def _token_logprobs(
    logits: Tensor, targets: Tensor, ignore_index: int, temperature: float, backend: str
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and logsumexps, each of the shape of ``targets``."""
    if backend == "triton":
        from . import triton_backend

        return triton_backend.logits_forward(logits, targets, ignore_index, temperature)
    return torch_backend.logits_forward(logits, targets, ignore_index, temperature)


@_token_logprobs.register_fake
def _(logits, targets, ignore_index, temperature, backend):
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return tuple(torch.empty(targets.shape, dtype=dtype, device=logits.device) for _ in range(2))


@torch.library.custom_op(
    add_op_namespace_prefix("token_logprobs_backward"),
    mutates_args=(),
    schema="(Tensor grad, Tensor logits, Tensor targets, Tensor lse, int ignore_index,"
    " float temperature) -> Tensor",
)
def _token_logprobs_backward(
    grad: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    ignore_index: int,
    temperature: float,
) -> Tensor:
    return torch_backend.logits_backward(grad, logits, targets, lse, ignore_index, temperature)


@_token_logprobs_backward.register_fake
def _(grad, logits, targets, lse, ignore_index, temperature):
    return torch.empty_like(logits)


def _setup_context(ctx, inputs, output) -> None:
    logits, targets, ctx.ignore_index, ctx.temperature, _ = inputs
    ctx.save_for_backward(logits, targets, output[1])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):
    if grad is None:
        return (None,) * 5
    logits, targets, lse = ctx.saved_tensors
    d_logits = _token_logprobs_backward(
        grad, logits, targets, lse, ctx.ignore_index, ctx.temperature
    )
    return d_logits, None, None, None, None


_token_logprobs.register_autograd(_backward, setup_context=_setup_context)
