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
    """Log-probability of each target under the softmax over its row of logits.

    ``log_softmax(logits.float() / temperature, -1).gather(-1, targets[..., None])[..., 0]``, with
    ignored positions 0.0; no copy of the logits as a whole is made, of any strides.

    Args:
        logits: (..., v) float16, bfloat16, float32 or float64, at least 2-D.
        targets: (...) int64, in 0..v-1 or ``ignore_index``.
        ignore_index: the target that marks a position to leave out; its logits are not read.
        temperature: positive; divides the logits.
        backend: ``"torch"``, or ``"triton"`` (not for float64).

    Returns:
        (...) natural logarithms; float64 if ``logits`` is float64, else float32. A target whose
        logit is -inf gives -inf. A row with NaN, or of -inf alone, gives NaN; so does a target
        whose logit is +inf, while the other targets of that row give -inf. No other row is
        touched. Gradients flow to ``logits``, in as much memory as the gradient itself.
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
    """The log-probabilities and the logsumexps."""
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


def _remember(ctx, inputs, output) -> None:
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


_token_logprobs.register_autograd(_backward, setup_context=_remember)
