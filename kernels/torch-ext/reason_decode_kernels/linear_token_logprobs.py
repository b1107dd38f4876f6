"""Log-probabilities of given tokens, from hidden states and the output matrix."""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import torch
from torch import Tensor

from . import torch_backend
from .namespace import add_op_namespace_prefix


def linear_token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    fast: bool = False,
    backend: str = "torch",
) -> Tensor:
    """``token_logprobs(cap(hidden @ weight.T + bias), targets)``, logits in blocks; unchecked.

    See ``reason_decode.kernels.linear_token_logprobs``.
    """
    return contexts_token_logprobs(
        [hidden], weight, targets, bias, softcap, ignore_index, temperature, fast, backend
    )[0]


def contexts_token_logprobs(
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
    fast: bool,
    backend: str,
) -> Tensor:
    """``linear_token_logprobs`` of the same targets after each of c contexts: (c, ...)."""
    flat = [context.reshape(-1, context.shape[-1]) for context in contexts]
    logp, _ = _linear_token_logprobs(
        flat,
        weight,
        targets.reshape(-1),
        bias,
        softcap,
        ignore_index,
        temperature,
        fast,
        backend,
    )
    return logp.view(len(contexts), *targets.shape)


@torch.library.custom_op(
    add_op_namespace_prefix("linear_token_logprobs"),
    mutates_args=(),
    schema="(Tensor[] contexts, Tensor weight, Tensor targets, Tensor? bias, float? softcap,"
    " int ignore_index, float temperature, bool fast, str backend) -> (Tensor, Tensor)",
)
def _linear_token_logprobs(
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
    fast: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and logsumexps, (c, t) each."""
    with torch.autocast(weight.device.type, enabled=False):
        if backend == "triton":
            from . import triton_backend

            return triton_backend.linear_forward(
                contexts, weight, targets, bias, softcap, ignore_index, temperature
            )
        return torch_backend.linear_forward(
            contexts, weight, targets, bias, softcap, ignore_index, temperature, fast
        )


@_linear_token_logprobs.register_fake
def _(contexts, weight, targets, bias, softcap, ignore_index, temperature, fast, backend):
    dtype = torch.promote_types(contexts[0].dtype, weight.dtype)
    shape = (len(contexts), targets.shape[0])
    dtype = torch.promote_types(dtype, torch.float32)
    return tuple(torch.empty(shape, dtype=dtype, device=weight.device) for _ in range(2))


@torch.library.custom_op(
    add_op_namespace_prefix("linear_token_logprobs_backward"),
    mutates_args=(),
    schema="(Tensor grads, Tensor[] contexts, Tensor weight, Tensor targets, Tensor lse,"
    " Tensor? bias, float? softcap, int ignore_index, float temperature)"
    " -> (Tensor[], Tensor, Tensor)",
)
def _linear_token_logprobs_backward(
    grads: Tensor,
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    lse: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of contexts, weight and bias; the last is empty if there is no bias."""
    with torch.autocast(weight.device.type, enabled=False):
        d_contexts, d_weight, d_bias = torch_backend.linear_backward(
            grads, contexts, weight, targets, lse, bias, softcap, ignore_index, temperature
        )
    return d_contexts, d_weight, weight.new_empty(0) if d_bias is None else d_bias


@_linear_token_logprobs_backward.register_fake
def _(grads, contexts, weight, targets, lse, bias, softcap, ignore_index, temperature):
    d_bias = weight.new_empty(0) if bias is None else torch.empty_like(bias)
    return [torch.empty_like(x) for x in contexts], torch.empty_like(weight), d_bias


def _setup_context(ctx, inputs, output) -> None:
    contexts, weight, targets, bias, *ctx.settings, _, _ = inputs
    ctx.count = len(contexts)
    ctx.save_for_backward(*contexts, weight, targets, bias, output[1])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grads, _):
    if grads is None:
        return [None] * ctx.count, *(None,) * 8
    *contexts, weight, targets, bias, lse = ctx.saved_tensors
    d_contexts, d_weight, d_bias = _linear_token_logprobs_backward(
        grads, contexts, weight, targets, lse, bias, *ctx.settings
    )
    return d_contexts, d_weight, None, None if bias is None else d_bias, *(None,) * 5


_linear_token_logprobs.register_autograd(_backward, setup_context=_setup_context)
