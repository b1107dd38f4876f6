"""The one door to the kernels: inputs are checked here, then handed to a backend."""

import importlib.util
import math
import os

import torch
from torch import Tensor

try:
    import reason_decode_kernels as _kernels
    from reason_decode_kernels import LossDelta
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "reason_decode_kernels is not on the path: install the checkout (pip install -e .), "
        "or add its kernels/torch-ext folder to PYTHONPATH"
    ) from error

__all__ = ["LossDelta", "linear_token_logprobs", "loss_delta", "token_logprobs"]

_BACKENDS = ("auto", "torch", "triton")
# Logits of so few columns are one block of the torch backend: a product, and a pass over it.
_ONE_BLOCK = 4096
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def token_logprobs(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore_index: int = -100,
    temperature: float = 1.0,
    backend: str = "auto",
) -> Tensor:
    """Log-probability of each target under the softmax over its row of logits.

    ``log_softmax(logits / temperature, -1).gather(-1, targets[..., None])[..., 0]``, 0.0 where the
    target is ``ignore_index``. Extra memory is a few MiB and the result, whatever t and v; float32
    arithmetic, or float64 for float64 logits. Differentiable once by ``logits``. NaN and
    infinities: see ``reason_decode_kernels.token_logprobs``.

    Args:
        logits: (..., v) float16, bfloat16, float32 or float64, at least 2-D, of any strides.
        targets: (...) int64, in 0..v-1 or ``ignore_index``; on the device of ``logits``.
        ignore_index: the target that marks a position to leave out, such as padding.
        temperature: finite and positive; divides the logits.
        backend: ``"auto"`` (Triton for CUDA tensors of more than 4096 columns, else torch),
            ``"torch"`` or ``"triton"``.

    Returns:
        (...) float32 (float64 for float64 logits), in nats.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: shapes that do not fit, targets out of range (not seen while torch compiles,
            when they give NaN), several devices, a temperature, or a backend that does not exist
            or cannot do this.
        ModuleNotFoundError: ``backend="triton"`` where Triton is not installed.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import token_logprobs
        >>> token_logprobs(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([0.2500])
    """
    _check_backend(backend)
    _check_float("logits", logits)
    _check_positive("temperature", temperature)
    vocabulary = logits.shape[-1] if logits.ndim else 0
    _check_targets("logits", logits, targets, vocabulary, ignore_index)
    return _kernels.token_logprobs(
        logits,
        targets,
        ignore_index=ignore_index,
        temperature=temperature,
        backend=_choose(backend, vocabulary, logits),
    )


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
    backend: str = "auto",
) -> Tensor:
    """Log-probability of each target, the logits being a linear map of the hidden states.

    ``token_logprobs(cap(hidden @ weight.T + bias), targets)``, where ``cap(x) = softcap *
    tanh(x / softcap)``, or the identity without ``softcap``; the (tokens x v) matrix of logits is
    never held, and ignored positions cost no product. float32 arithmetic, or float64 if
    ``hidden`` or ``weight`` is float64. Differentiable once by ``hidden``, ``weight`` and ``bias``,
    in as little memory: the blocks are made again, so that it can be a training loss.

    Args:
        hidden: (..., h) float16, bfloat16, float32 or float64, at least 2-D, of any strides.
        weight: (v, h), one of the same dtypes (they may differ): the output matrix.
        targets: (...) int64, in 0..v-1 or ``ignore_index``.
        bias: (v,), one of the same dtypes, or ``None``.
        softcap: finite and positive, or ``None`` (Gemma 2, arXiv 2408.00118, section 2).
        ignore_index: the target that marks a position to leave out, such as padding.
        temperature: finite and positive; divides the logits, capped ones too.
        fast: multiply in the dtype of ``hidden``. On a CPU bfloat16 is then several times as fast,
            and each logit is rounded to 8 bits: 0.01 to 0.06 nats a token. Triton never rounds.
        backend: ``"auto"`` (Triton for CUDA tensors of more than 4096 columns, else torch),
            ``"torch"`` or ``"triton"``.

    Returns:
        (...) float32 or float64, in nats.

    Raises:
        TypeError: a dtype that is not listed above.
        ValueError: as ``token_logprobs``, or a ``softcap`` that cannot be.
        ModuleNotFoundError: ``backend="triton"`` where Triton is not installed.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import linear_token_logprobs
        >>> hidden, weight = torch.zeros(1, 8), torch.ones(4, 8)
        >>> linear_token_logprobs(hidden, weight, torch.tensor([2])).exp()
        tensor([0.2500])
    """
    _check_backend(backend)
    _check_linear("hidden", hidden, weight, bias, softcap, temperature)
    _check_targets("hidden", hidden, targets, weight.shape[0], ignore_index)
    return _kernels.linear_token_logprobs(
        hidden,
        weight,
        targets,
        bias=bias,
        softcap=softcap,
        ignore_index=ignore_index,
        temperature=temperature,
        fast=fast,
        backend=_choose(backend, weight.shape[0], hidden, weight),
    )


def loss_delta(
    hidden_with: Tensor,
    hidden_without: Tensor,
    weight: Tensor,
    targets: Tensor,
    segments: Tensor,
    *,
    discount: float = 0.9,
    threshold: float | Tensor = 0.0,
    bias: Tensor | None = None,
    softcap: float | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    fast: bool = False,
    backend: str = "auto",
) -> LossDelta:
    """How much the first of two contexts lowers the loss of the same tokens, segment by segment.

    ``delta = linear_token_logprobs(hidden_with, ...) - linear_token_logprobs(hidden_without, ...)``
    and, over the i-th tokens of each segment, ``sum_i discount**i * delta_i``: kept where at least
    ``threshold``. The output matrix is gone through once for both contexts.

    Args:
        hidden_with: (t, h) float16, bfloat16, float32 or float64: the states that predict
            ``targets`` after the first context, all segments one after the other.
        hidden_without: (t, h), the same dtype: after the second context.
        weight: (v, h), one of those dtypes: the output matrix.
        targets: (t,) int64, in 0..v-1 or ``ignore_index``.
        segments: (k + 1,) int64, from 0 to t, never falling: segment j is
            ``segments[j]:segments[j + 1]``; it may be empty, and is then not kept.
        discount: in (0, 1].
        threshold: nats; a number, or (k,) of floats, one for each segment.
        bias: (v,), or ``None``.
        softcap: finite and positive, or ``None``.
        ignore_index: the target that marks a position to leave out; it counts as a place in its
            segment, and adds nothing.
        temperature: finite and positive; divides the logits.
        fast: as in ``linear_token_logprobs``.
        backend: as in ``linear_token_logprobs``.

    Returns:
        A ``LossDelta`` of tensors ``logp_with``, ``logp_without`` and ``delta`` (t,), ``sums``,
        ``means`` (over ``sum_i discount**i``) and ``keep`` (k,): float32 or float64 in nats, and
        bool. Gradients flow to both contexts, ``weight`` and ``bias``.

    Raises:
        TypeError: as ``linear_token_logprobs``.
        ValueError: as there; contexts that differ; segments that do not cover the tokens in order;
            a discount out of range.
        ModuleNotFoundError: ``backend="triton"`` where Triton is not installed.

    Source: RATIONALYST (arXiv 2410.01044), section 3, whose code sums with ``0.9**i``.

    Example:
        >>> import torch
        >>> from reason_decode.kernels import loss_delta
        >>> weight, targets = torch.eye(4), torch.tensor([1, 2])
        >>> told, untold = 2 * weight[targets], torch.zeros(2, 4)
        >>> loss_delta(told, untold, weight, targets, torch.tensor([0, 1, 2]), threshold=1.0).keep
        tensor([True, True])
    """
    _check_backend(backend)
    for name, hidden in (("hidden_with", hidden_with), ("hidden_without", hidden_without)):
        _check_linear(name, hidden, weight, bias, softcap, temperature)
    if hidden_with.ndim != 2 or hidden_with.shape != hidden_without.shape:
        raise ValueError(
            f"hidden_with is {_shape(hidden_with)} and hidden_without {_shape(hidden_without)}; "
            "they must be the same (t, h): the states of the same tokens after two contexts"
        )
    if hidden_with.dtype != hidden_without.dtype:
        raise TypeError(
            f"hidden_with is {hidden_with.dtype} and hidden_without {hidden_without.dtype}; "
            "they must be of one dtype: convert one"
        )
    _check_targets("hidden_with", hidden_with, targets, weight.shape[0], ignore_index)
    _check_segments(segments, targets)
    if not 0 < discount <= 1:
        raise ValueError(f"discount={discount}; it must be above 0 and at most 1")
    if isinstance(threshold, Tensor) and threshold.shape != (len(segments) - 1,):
        raise ValueError(
            f"threshold is {_shape(threshold)}; it must be a number or one for each of the "
            f"{len(segments) - 1} segments"
        )
    return _kernels.loss_delta(
        hidden_with,
        hidden_without,
        weight,
        targets,
        segments,
        discount=discount,
        threshold=threshold,
        bias=bias,
        softcap=softcap,
        ignore_index=ignore_index,
        temperature=temperature,
        fast=fast,
        backend=_choose(backend, weight.shape[0], hidden_with, weight),
    )


def _choose(backend: str, vocabulary: int, *inputs: Tensor) -> str:
    """The backend to use; the number of tokens has no say, lest a batch change a result."""
    double = any(x.dtype == torch.float64 for x in inputs)
    cuda = inputs[0].is_cuda
    if backend == "triton":
        if not _has_triton():
            raise ModuleNotFoundError("backend='triton' needs Triton: pip install triton")
        if double or not (cuda or os.environ.get("TRITON_INTERPRET") == "1"):
            raise ValueError(
                f"backend='triton' got {inputs[0].dtype} on {inputs[0].device}; it takes float16, "
                "bfloat16 and float32 on a GPU: use backend='auto' (or, to look at the programs, "
                "set TRITON_INTERPRET=1 before the first use)"
            )
    if backend != "auto":
        return backend
    if cuda and not double and vocabulary > _ONE_BLOCK and _has_triton():
        return "triton"
    return "torch"


def _has_triton() -> bool:
    """Whether it can be imported, found out without importing it."""
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:  # It is in sys.modules, but as None.
        return False


def _check_backend(backend: str) -> None:
    if backend not in _BACKENDS:
        raise ValueError(
            f"backend={backend!r}; it must be one of {', '.join(map(repr, _BACKENDS))}"
        )


def _check_float(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in _FLOATS:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FLOATS)
        raise TypeError(f"{name} is {tensor.dtype}; it must be one of {allowed}: convert it first")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value}; it must be finite and positive")


def _check_linear(
    name: str,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    temperature: float,
) -> None:
    """What makes logits must fit together."""
    _check_float(name, hidden)
    _check_float("weight", weight)
    if weight.ndim != 2 or hidden.ndim < 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name} is {_shape(hidden)} and weight {_shape(weight)}; they must be (..., h) with "
            "at least two dimensions and (v, h): pass lm_head.weight itself, not its transpose"
        )
    _check_device("weight", weight, name, hidden)
    if bias is not None:
        _check_float("bias", bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias is {_shape(bias)}; it must be ({weight.shape[0]},), as weight")
        _check_device("bias", bias, name, hidden)
    if softcap is not None and not (math.isfinite(softcap) and softcap > 0):
        raise ValueError(f"softcap={softcap}; it must be finite and positive, or None for no cap")
    _check_positive("temperature", temperature)


def _check_segments(segments: Tensor, targets: Tensor) -> None:
    """Offsets must go from 0 to the number of targets without falling."""
    if segments.dtype != torch.int64 or segments.ndim != 1 or not len(segments):
        raise ValueError(
            f"segments is {_shape(segments)} {segments.dtype}; it must be (k + 1,) int64 offsets"
        )
    _check_device("segments", segments, "targets", targets)
    if torch.compiler.is_compiling():
        return
    ends = (int(segments[0]), int(segments[-1]))
    if ends != (0, len(targets)) or bool((segments.diff() < 0).any()):
        raise ValueError(
            f"segments goes from {ends[0]} to {ends[1]}"
            + (", falling on the way" if bool((segments.diff() < 0).any()) else "")
            + f"; it must go from 0 to {len(targets)}, the number of targets, and never fall"
        )


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
    if torch.compiler.is_compiling():
        return  # A value decides what follows, which a compiled graph cannot do.
    wrong = (targets != ignore_index) & ((targets < 0) | (targets >= vocabulary))
    if wrong.any():
        position = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"targets{position} is {targets[tuple(position)].item()}; targets must be "
            f"0..{vocabulary - 1}, or ignore_index={ignore_index} to leave a position out"
        )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
