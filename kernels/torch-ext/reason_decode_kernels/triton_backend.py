"""The forwards on a GPU by ``triton_kernels``: partial results, merged in order, no atomics."""

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

# TRITON_INTERPRET=1, when the programs were read: they then run on the CPU, to be looked at.
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
    # Inner strides of 1, as the programs read.
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
            # The interpreter multiplies the bits of a bfloat16, not its value.
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
    """log2 of the sum over splits of ``totals * 2**peaks``; both are overwritten."""
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
    """``programs`` of a kernel; its launch options are not among its parameters."""
    kernel[(programs,)](*args, **constants)


def _on(tensor: Tensor) -> torch.cuda.device:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(tensor.device if tensor.is_cuda else -1)
