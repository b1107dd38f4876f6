"""Log-probabilities from hidden states: seconds and memory beside the plain product.

    python -m benchmarks.speed.bench_linear_token_logprobs --preset small-vocabulary narrow llama-3.2-1b

The floor is ``torch.mm`` of the same shape and dtype, which makes the logits and stops there.
Checked first, against logits in float64; then each way is timed in turns, the best of its calls
counts, and its memory is what the process (or the GPU) held more while it ran.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.kernel_table import DTYPES, Case, Way, inputs, negative, optional, run, same
from reason_decode.kernels import linear_token_logprobs, token_logprobs

CHUNK = 256 * 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, print."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """One shape, and every way that can run here."""
    (hidden,), weight, targets = inputs(args, preset, contexts=1)
    rows, width = hidden.shape
    return Case(
        f"{preset}: {rows} rows, {width} wide, {len(weight)} columns, {args.dtype}",
        ways(args, hidden, weight, targets),
        _truth(hidden, weight, targets),
        2.0 * rows * width * len(weight),
        hidden.element_size() * (hidden.numel() + weight.numel()),
    )


def ways(args: argparse.Namespace, hidden: Tensor, weight: Tensor, targets: Tensor) -> list[Way]:
    """The floor, ours, and every peer that can run here."""

    def naive() -> Tensor:
        logp = (hidden @ weight.T).float().log_softmax(-1)
        return logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def chunked() -> Tensor:
        step = max(1, CHUNK // (len(weight) * hidden.element_size()))
        return torch.cat(
            [
                token_logprobs(hidden[at : at + step] @ weight.T, targets[at : at + step])
                for at in range(0, len(hidden), step)
            ]
        )

    def cross_entropy() -> Tensor:
        return F.cross_entropy((hidden @ weight.T).float(), targets, reduction="none")

    def fast() -> Tensor:
        return linear_token_logprobs(hidden, weight, targets, fast=True)

    found = [
        Way("torch.mm (the floor)", lambda: torch.mm(hidden, weight.T)),
        Way("ours", lambda: linear_token_logprobs(hidden, weight, targets), same),
    ]
    if DTYPES[args.dtype] != torch.float32 and args.device == "cpu":
        found.append(Way("ours, fast", fast, same))
    compiled = torch.compile(naive)
    found += [
        Way("naive", naive, same),
        Way("F.cross_entropy", cross_entropy, negative),
        Way("torch.compile(naive)", compiled, same),
        Way("256 MiB of logits at a time", chunked, same),
    ]
    fused = getattr(F, "linear_cross_entropy", None)
    if fused is not None:
        found.append(
            Way(
                "F.linear_cross_entropy",
                lambda: fused(hidden, weight, targets, reduction="none"),
                negative,
            )
        )
    if args.device.startswith("cuda"):
        found += _gpu_peers(hidden, weight, targets)
    return found


def _gpu_peers(hidden: Tensor, weight: Tensor, targets: Tensor) -> list[Way]:
    """Peers whose programs need a GPU, where they are installed."""
    found = []
    cut = optional("cut_cross_entropy")
    if cut is not None:
        found.append(
            Way(
                "cut-cross-entropy",
                lambda: cut.linear_cross_entropy(hidden, weight, targets, reduction="none"),
                negative,
            )
        )
    liger = optional("liger_kernel.transformers")
    if liger is not None:
        fused = liger.LigerFusedLinearCrossEntropyLoss(reduction="none")
        found.append(Way("Liger fused linear", lambda: fused(weight, hidden, targets), negative))
    return found


def _truth(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """In float64, some rows at a time."""
    step = max(1, CHUNK // (8 * len(weight)))
    parts = []
    for at in range(0, len(hidden), step):
        logits = hidden[at : at + step].double() @ weight.T.double()
        picked = logits.gather(-1, targets[at : at + step].unsqueeze(-1)).squeeze(-1)
        parts.append(picked - logits.logsumexp(-1))
    return torch.cat(parts)


if __name__ == "__main__":
    sys.exit(main())
