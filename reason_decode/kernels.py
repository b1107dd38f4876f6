"""Log-probabilities of given tokens and loss deltas, without a matrix of logits.

The public functions check their inputs and choose a backend; ``reason_decode_kernels``, which they
call and which nothing else in the library imports, checks nothing.
"""

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
# Largest vocabulary of which the torch backend makes the logits in one block; up to here Triton
# brings nothing.
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
    """Log-probability of each target under the softmax of its row of logits.

    ``log_softmax(logits / temperature, -1).gather(-1, targets[..., None])[..., 0]``, and 0.0 where
    the target is ``ignore_index``. Takes a few MiB of memory besides the result, whatever t and v
    are. Computes in float32, or in float64 for float64 logits. Differentiable once with respect to
    ``logits``.

    A target whose logit is -inf gives -inf. A row that has NaN, or nothing but -inf, gives NaN. In
    a row with +inf, that target gives NaN and every other target -inf.

    Args:
        logits: (..., v) float16, bfloat16, float32 or float64, at least 2-D, with any strides.
        targets: (...) int64, in 0..v-1 or ``ignore_index``; on the device of ``logits``.
        ignore_index: target of positions that are left out, such as padding.
        temperature: divides the logits; finite and positive.
        backend: ``"auto"`` (Triton for CUDA tensors of more than 4096 columns, else torch),
            ``"torch"`` or ``"triton"``.

    Returns:
        (...) float32 (float64 for float64 logits), in nats.

    Raises:
        TypeError: a tensor has a dtype that is not listed above.
        ValueError: shapes or devices differ, a target is out of range (under ``torch.compile`` it
            gives NaN instead), the temperature is out of range, or the backend is unknown or does
            not support the inputs.
        ModuleNotFoundError: ``backend="triton"``, and Triton is not installed.

    Examples:
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
    """Log-probability of each target, from hidden states and the output matrix.

    ``token_logprobs(cap(hidden @ weight.T + bias), targets)`` with ``cap(x) = softcap *
    tanh(x / softcap)``, or the identity without ``softcap``. The logits exist in blocks of some
    tokens by some of the vocabulary; ignored positions cost no product. Computes in float32, or in
    float64 if ``hidden`` or ``weight`` is float64. Differentiable once with respect to ``hidden``,
    ``weight`` and ``bias``; the backward pass computes the blocks again and holds no more memory,
    so that this can be a training loss. NaN and infinities: see ``token_logprobs``.

    Args:
        hidden: (..., h) float16, bfloat16, float32 or float64, at least 2-D, with any strides.
        weight: (v, h), the output matrix; any of these dtypes, also another than that of
            ``hidden``.
        targets: (...) int64, in 0..v-1 or ``ignore_index``.
        bias: (v,) of any of these dtypes, or ``None``.
        softcap: bound of the magnitude of a logit, finite and positive, or ``None`` (Gemma 2, arXiv
            2408.00118, section 2).
        ignore_index: target of positions that are left out, such as padding.
        temperature: divides the (capped) logits; finite and positive.
        fast: multiply in the dtype of ``hidden``. On a CPU, bfloat16 is then several times as fast,
            and each logit is rounded to 8 bits, an error of 0.01 to 0.06 nats a token. The Triton
            backend ignores this and never rounds.
        backend: ``"auto"`` (Triton for CUDA tensors of more than 4096 columns, else torch),
            ``"torch"`` or ``"triton"``.

    Returns:
        (...) float32 or float64, in nats.

    Raises:
        TypeError: a tensor has a dtype that is not listed above.
        ValueError: shapes or devices differ, a target is out of range (under ``torch.compile`` it
            gives NaN instead), the temperature or the softcap is out of range, or the backend is
            unknown or does not support the inputs.
        ModuleNotFoundError: ``backend="triton"``, and Triton is not installed.

    Examples:
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
    """The loss that one context saves over another on the same tokens, by token and by segment.

    ``delta = linear_token_logprobs(hidden_with, ...) - linear_token_logprobs(hidden_without, ...)``
    for each token; for each segment ``sum_i discount**i * delta_i`` over its i-th tokens, and
    whether this sum reaches ``threshold``. Both contexts share one pass over the output matrix.

    Args:
        hidden_with: (t, h) float16, bfloat16, float32 or float64, the states that predict
            ``targets`` after the first context; the tokens of all segments, concatenated.
        hidden_without: (t, h) of the same dtype, the states after the second context.
        weight: (v, h), the output matrix, of any of these dtypes.
        targets: (t,) int64, in 0..v-1 or ``ignore_index``.
        segments: (k + 1,) int64 offsets, non-decreasing, from 0 to t: segment j is
            ``segments[j]:segments[j + 1]``. An empty segment never passes.
        discount: in (0, 1].
        threshold: in nats; a number, or a float tensor (k,), one for each segment.
        bias: (v,), or ``None``.
        softcap: bound of the magnitude of a logit, finite and positive, or ``None``.
        ignore_index: target of positions that are left out; such a position counts for the i of
            the tokens after it and adds nothing to the sum.
        temperature: divides the logits; finite and positive.
        fast: see ``linear_token_logprobs``.
        backend: see ``linear_token_logprobs``.

    Returns:
        A ``LossDelta``: ``logp_with``, ``logp_without`` and ``delta`` (t,), ``sums`` and ``means``
        (k,), float32 or float64 in nats, and ``passed`` (k,) bool. Gradients flow to both contexts,
        ``weight`` and ``bias``.

    Raises:
        TypeError: a tensor has a dtype that is not listed above, or the contexts' dtypes differ.
        ValueError: shapes or devices differ, a target is out of range (under ``torch.compile`` it
            gives NaN instead), the segments do not cover the tokens in order, another number is out
            of range, or the backend is unknown or does not support the inputs.
        ModuleNotFoundError: ``backend="triton"``, and Triton is not installed.

    Source: RATIONALYST (arXiv 2410.01044), section 3; its code (JHU-CLSP/rationalyst) sums with
    ``0.9**i``.

    Examples:
        >>> import torch
        >>> from reason_decode.kernels import loss_delta
        >>> weight, targets = torch.eye(4), torch.tensor([1, 2])
        >>> helped, plain, segments = 2 * weight[targets], torch.zeros(2, 4), torch.arange(3)
        >>> loss_delta(helped, plain, weight, targets, segments, threshold=1.0).passed
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
    """The backend for some inputs, whatever the number of tokens: a batch changes no result."""
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
    """True if Triton can be imported; does not import it."""
    try:
        return importlib.util.find_spec("triton") is not None
    except ValueError:  # sys.modules['triton'] is None
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
    """Raise unless hidden states, weight and bias fit together and the numbers are in range."""
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
            raise ValueError(
                f"bias is {_shape(bias)}; it must be ({weight.shape[0]},), one value for each row "
                "of weight"
            )
        _check_device("bias", bias, name, hidden)
    if softcap is not None and not (math.isfinite(softcap) and softcap > 0):
        raise ValueError(f"softcap={softcap}; it must be finite and positive, or None for no cap")
    _check_positive("temperature", temperature)


def _check_segments(segments: Tensor, targets: Tensor) -> None:
    """Raise unless the offsets are non-decreasing and go from 0 to the number of targets."""
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
            + (", and decreases in between" if bool((segments.diff() < 0).any()) else "")
            + f"; it must go from 0 to {len(targets)}, the number of targets, and never decrease"
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
    """Raise unless there is a target within the vocabulary for each position of ``source``."""
    if targets.dtype != torch.int64:
        raise TypeError(f"targets is {targets.dtype}; it must be int64: targets.long()")
    if source.ndim < 2 or targets.shape != source.shape[:-1]:
        raise ValueError(
            f"{name} is {_shape(source)} and targets {_shape(targets)}; {name} must have at least "
            f"two dimensions and targets one value for each of its positions, {name}.shape[:-1]"
        )
    _check_device("targets", targets, name, source)
    if torch.compiler.is_compiling():
        return  # a compiled graph cannot branch on a value
    wrong = (targets != ignore_index) & ((targets < 0) | (targets >= vocabulary))
    if wrong.any():
        position = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"targets{position} is {targets[tuple(position)].item()}; targets must be "
            f"0..{vocabulary - 1}, or ignore_index={ignore_index} to leave a position out"
        )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
