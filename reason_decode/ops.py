"""The one door to the kernels: inputs are checked here, then handed to a backend."""

import math

import torch
from torch import Tensor

try:
    import reason_decode_kernels as _torch_backend
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "reason_decode_kernels is not on the path: install the checkout (pip install -e .), "
        "or add its kernels/torch-ext folder to PYTHONPATH"
    ) from error

__all__ = ["linear_token_logprobs", "token_logprobs"]

_BACKENDS = ("auto", "torch")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def token_logprobs(
    logits: Tensor, targets: Tensor, *, ignore_index: int = -100, backend: str = "auto"
) -> Tensor:
    """Log-probability of each target under the softmax over its row of logits.

    ``log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]``, 0.0 where the target is
    ``ignore_index``. Extra memory is a few MiB and the result, whatever t and v; float32
    arithmetic, or float64 for float64 logits. NaN and infinities: see
    ``reason_decode_kernels.token_logprobs``.

    Args:
        logits: (..., v) float16, bfloat16, float32 or float64, at least 2-D, of any strides.
        targets: (...) int64, in 0..v-1 or ``ignore_index``; on the device of ``logits``.
        ignore_index: the target that marks a position to leave out, such as padding.
        backend: ``"auto"`` or ``"torch"``.

    Returns:
        (...) float32 (float64 for float64 logits), in nats.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes that do not fit, targets out of range, several devices, a backend that
            does not exist.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import token_logprobs
        >>> token_logprobs(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([0.2500])
    """
    _check_backend(backend)
    _check_float("logits", logits)
    _check_targets("logits", logits, targets, logits.shape[-1] if logits.ndim else 0, ignore_index)
    return _torch_backend.token_logprobs(logits, targets, ignore_index=ignore_index)


def linear_token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    backend: str = "auto",
) -> Tensor:
    """Log-probability of each target, the logits being a linear map of the hidden states.

    ``token_logprobs(cap(hidden @ weight.T + bias), targets)``, where ``cap(x) = softcap *
    tanh(x / softcap)``, or the identity without ``softcap``; the (tokens x v) matrix of logits is
    never held, and ignored positions cost no product. float32 arithmetic, or float64 if
    ``hidden`` or ``weight`` is float64.

    Args:
        hidden: (..., h) float16, bfloat16, float32 or float64, at least 2-D, of any strides.
        weight: (v, h), one of the same dtypes (they may differ): the output matrix.
        targets: (...) int64, in 0..v-1 or ``ignore_index``.
        bias: (v,), one of the same dtypes, or ``None``.
        softcap: finite and positive, or ``None`` (Gemma 2, arXiv 2408.00118, section 2).
        ignore_index: the target that marks a position to leave out, such as padding.
        backend: ``"auto"`` or ``"torch"``.

    Returns:
        (...) float32 or float64, in nats.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes that do not fit, targets out of range, several devices, a ``softcap``
            or a backend that does not exist.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import linear_token_logprobs
        >>> hidden, weight = torch.zeros(1, 8), torch.ones(4, 8)
        >>> linear_token_logprobs(hidden, weight, torch.tensor([2])).exp()
        tensor([0.2500])
    """
    _check_backend(backend)
    _check_float("hidden", hidden)
    _check_float("weight", weight)
    if weight.ndim != 2 or hidden.ndim < 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden is {_shape(hidden)} and weight {_shape(weight)}; they must be (..., h) with "
            "at least two dimensions and (v, h): pass lm_head.weight itself, not its transpose"
        )
    _check_device("weight", weight, "hidden", hidden)
    if bias is not None:
        _check_float("bias", bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias is {_shape(bias)}; it must be ({weight.shape[0]},), as weight")
        _check_device("bias", bias, "hidden", hidden)
    if softcap is not None and not (math.isfinite(softcap) and softcap > 0):
        raise ValueError(f"softcap={softcap}; it must be finite and positive, or None for no cap")
    _check_targets("hidden", hidden, targets, weight.shape[0], ignore_index)
    return _torch_backend.linear_token_logprobs(
        hidden, weight, targets, bias=bias, softcap=softcap, ignore_index=ignore_index
    )


def _check_backend(backend: str) -> None:
    if backend not in _BACKENDS:
        raise ValueError(
            f"backend={backend!r}; it must be one of {', '.join(map(repr, _BACKENDS))}"
        )


def _check_float(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in _FLOATS:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FLOATS)
        raise TypeError(f"{name} is {tensor.dtype}; it must be one of {allowed}: convert it first")


def _check_device(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        raise ValueError(
            f"{name} is on {tensor.device} and {other_name} on {other.device}; "
            f"move one: {name}.to({other_name}.device)"
        )


def _check_targets(
    name: str, source: Tensor, targets: Tensor, vocabulary: int, ignore_index: int
) -> None:
    """Targets must name a token of ``vocabulary`` for each position of ``source``, (..., x)."""
    if targets.dtype != torch.int64:
        raise TypeError(f"targets is {targets.dtype}; it must be int64: targets.long()")
    if source.ndim < 2 or targets.shape != source.shape[:-1]:
        raise ValueError(
            f"{name} is {_shape(source)} and targets {_shape(targets)}; {name} must have at least "
            f"two dimensions and targets one value for each of its positions, {name}.shape[:-1]"
        )
    _check_device("targets", targets, name, source)
    wrong = (targets != ignore_index) & ((targets < 0) | (targets >= vocabulary))
    if wrong.any():
        position = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"targets{position} is {targets[tuple(position)].item()}; targets must be "
            f"0..{vocabulary - 1}, or ignore_index={ignore_index} to leave a position out"
        )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
