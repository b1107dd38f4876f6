"""Forward functions on a GPU, by the programs in ``triton_kernels``.

Programs write partial results, which are merged in a fixed order, without atomics: two runs give
the same bits.
"""

from __future__ import annotations  # Kernel Hub projects must parse on Python 3.9.

import math
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("backend='triton' needs Triton: pip install triton") from error

from . import configs
from .triton_kernels import linear_kernel, logits_kernel

# With TRITON_INTERPRET=1 set at import, the programs run in an interpreter on the CPU.
INTERPRETED = not isinstance(linear_kernel, triton.JITFunction)
LOG2E = math.log2(math.e)
TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


def logits_forward(
    logits: Tensor, targets: Tensor, ignore_index: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and logsumexps from logits (..., v); see ``torch_backend``."""
    kept = (targets != ignore_index).nonzero(as_tuple=True)
    count = kept[0].numel()
    picked, lse = torch.empty(2, count, dtype=torch.float32, device=logits.device)
    offsets = torch.zeros(count, dtype=torch.int64, device=logits.device)
    for index, stride in zip(kept, logits.stride()):  # noqa: B905 - Python 3.9 has no strict=
        offsets += index * stride
    if count:
        block = min(configs.ROW_BLOCK, triton.next_power_of_2(logits.shape[-1]))
        with _on(logits):
            _launch(
                logits_kernel,
                count,
                logits,
                offsets,
                targets[kept],
                picked,
                lse,
                logits.shape[-1],
                logits.stride(-1),
                LOG2E / temperature,
                BLOCK=block,
                num_warps=configs.ROW_WARPS,
            )
    zeros = torch.zeros(targets.shape, device=logits.device)
    return zeros.index_put(kept, (picked - lse) / LOG2E), zeros.index_put(kept, lse / LOG2E)


def linear_forward(
    contexts: list[Tensor],
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    ignore_index: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and logsumexps (c, t) of the same targets after each context."""
    kept = (targets != ignore_index).nonzero().squeeze(-1)
    whole = kept.numel() == targets.numel()
    # The programs need an inner stride of 1.
    states = [(x if whole else x[kept]).contiguous() for x in contexts]
    rows, weight = (targets if whole else targets[kept]).contiguous(), _by_rows(weight)
    count, vocabulary = rows.shape[0], weight.shape[0]
    shape = (len(states), targets.shape[0])
    if not count:
        return torch.zeros(shape, device=weight.device), torch.zeros(shape, device=weight.device)
    config, descriptors = _configure(states, weight)
    splits = triton.cdiv(vocabulary, config.tiles * config.block_v)
    picked = torch.full((len(states), count), torch.nan, device=weight.device)
    peaks, totals = torch.empty(2, splits, len(states), count, device=weight.device)
    tiles = triton.cdiv(count, config.block_t) * len(states)
    with _on(weight):
        _launch(
            linear_kernel,
            tiles * splits,
            _operand(states[0], config.block_t, config, descriptors),
            _operand(states[-1], config.block_t, config, descriptors),
            _operand(weight, config.block_v, config, descriptors),
            weight if bias is None else bias.contiguous(),
            rows,
            picked,
            peaks,
            totals,
            count,
            vocabulary,
            weight.shape[1],
            states[0].stride(0),
            states[-1].stride(0),
            weight.stride(0),
            splits,
            1.0 if softcap is None else softcap,
            LOG2E / temperature,
            CONTEXTS=len(states),
            BLOCK_T=config.block_t,
            BLOCK_V=config.block_v,
            BLOCK_H=config.block_h,
            TILES=config.tiles,
            GROUP=config.group,
            EVEN_H=weight.shape[1] % config.block_h == 0,
            BIAS=bias is not None,
            SOFTCAP=softcap is not None,
            # The interpreter would multiply the bits of bfloat16 numbers, not their values.
            DTYPE=tl.float32 if INTERPRETED else TYPES[_common(states, weight)],
            PRECISION="ieee",
            DESCRIPTORS=descriptors,
            num_warps=config.warps,
            num_stages=config.stages,
        )
    lse = _merge(peaks, totals)
    logp = (picked - lse) / LOG2E
    if whole:
        return logp, lse / LOG2E
    every, norms = logp.new_zeros(shape), lse.new_zeros(shape)
    every[:, kept], norms[:, kept] = logp, lse / LOG2E
    return every, norms


def _merge(peaks: Tensor, totals: Tensor) -> Tensor:
    """log2 of the sum of ``totals * 2**peaks`` over the splits; overwrites both."""
    peak = peaks.amax(0)
    peak = torch.where(peak.isfinite(), peak, 0.0)
    return peak + totals.mul_(peaks.sub_(peak).exp2_()).sum(0).log2_()


def _configure(states: list[Tensor], weight: Tensor) -> tuple[configs.Config, bool]:
    if INTERPRETED:
        return configs.INTERPRETED, False
    common = _common(states, weight)
    aligned = all(
        x.dtype == common and x.data_ptr() % 16 == 0 and x.stride(0) * x.element_size() % 16 == 0
        for x in (*states, weight)
    )
    capability = (0, 0) if torch.version.hip else torch.cuda.get_device_capability(weight.device)
    return configs.choose(capability, common.itemsize, aligned)


def _common(states: list[Tensor], weight: Tensor) -> torch.dtype:
    return torch.promote_types(states[0].dtype, weight.dtype)


def _operand(
    matrix: Tensor, rows: int, config: configs.Config, descriptors: bool
) -> Tensor | TensorDescriptor:
    if not descriptors:
        return matrix
    return TensorDescriptor.from_tensor(matrix, [rows, config.block_h])


def _by_rows(matrix: Tensor) -> Tensor:
    return matrix if matrix.stride(-1) == 1 else matrix.contiguous()


def _launch(kernel: Any, programs: int, *args: object, **constants: object) -> None:
    """Launch a kernel; untyped, for launch options such as num_warps are no parameters of it."""
    kernel[(programs,)](*args, **constants)


def _on(tensor: Tensor) -> torch.cuda.device:
    """Context that makes the tensor's device the current one, on which Triton launches."""
    return torch.cuda.device(tensor.device if tensor.is_cuda else -1)
