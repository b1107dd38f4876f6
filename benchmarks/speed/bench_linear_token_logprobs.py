r"""Time and memory of ``linear_token_logprobs`` beside other ways from hidden states to logps.

    python -m benchmarks.speed.bench_linear_token_logprobs \
        --preset small-vocabulary narrow llama-3.2-1b

The lower bound is ``torch.mm`` of the same shape and dtype, which makes the logits and stops there.
Every method is first checked against logits in float64. Then all are timed in turns; the best call
counts. Memory is the peak of the process, or of the GPU, beyond that before the call.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.kernel_table import (
    DTYPES,
    Case,
    Method,
    as_is,
    import_optional,
    inputs,
    negated,
    run,
)
from reason_decode.kernels import linear_token_logprobs, token_logprobs

CHUNK = 256 * 2**20  # bytes of logits


def main(argv: Sequence[str] | None = None) -> int:
    """Check and time the methods, print the tables."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """The case of one preset, with every method that can run on this machine."""
    (hidden,), weight, targets = inputs(args, preset, contexts=1)
    rows, width = hidden.shape
    return Case(
        f"{preset}: {rows} rows, {width} wide, {len(weight)} columns, {args.dtype}",
        _methods(args, hidden, weight, targets),
        _expected(hidden, weight, targets),
        2.0 * rows * width * len(weight),
        hidden.element_size() * (hidden.numel() + weight.numel()),
    )


def _methods(
    args: argparse.Namespace, hidden: Tensor, weight: Tensor, targets: Tensor
) -> list[Method]:
    """The lower bound, ours, and every peer that can run on this machine."""

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
        Method("torch.mm (the floor)", lambda: torch.mm(hidden, weight.T)),
        Method("ours", lambda: linear_token_logprobs(hidden, weight, targets), as_is),
    ]
    if DTYPES[args.dtype] != torch.float32 and args.device == "cpu":
        found.append(Method("ours, fast", fast, as_is))
    compiled = torch.compile(naive)
    found += [
        Method("naive", naive, as_is),
        Method("F.cross_entropy", cross_entropy, negated),
        Method("torch.compile(naive)", compiled, as_is),
        Method("256 MiB of logits at a time", chunked, as_is),
    ]
    fused = getattr(F, "linear_cross_entropy", None)
    if fused is not None:
        found.append(
            Method(
                "F.linear_cross_entropy",
                lambda: fused(hidden, weight, targets, reduction="none"),
                negated,
            )
        )
    if args.device.startswith("cuda"):
        found += _gpu_peers(hidden, weight, targets)
    return found


def _gpu_peers(hidden: Tensor, weight: Tensor, targets: Tensor) -> list[Method]:
    """Peers that need a GPU, if they are installed."""
    found: list[Method] = []
    cut = import_optional("cut_cross_entropy")
    if cut is not None:
        found.append(
            Method(
                "cut-cross-entropy",
                lambda: cut.linear_cross_entropy(hidden, weight, targets, reduction="none"),
                negated,
            )
        )
    liger = import_optional("liger_kernel.transformers")
    if liger is not None:
        fused = liger.LigerFusedLinearCrossEntropyLoss(reduction="none")
        found.append(Method("Liger fused linear", lambda: fused(weight, hidden, targets), negated))
    return found


def _expected(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities in float64, a chunk of rows at a time."""
    step = max(1, CHUNK // (8 * len(weight)))
    parts: list[Tensor] = []
    for at in range(0, len(hidden), step):
        logits = hidden[at : at + step].double() @ weight.T.double()
        picked = logits.gather(-1, targets[at : at + step].unsqueeze(-1)).squeeze(-1)
        parts.append(picked - logits.logsumexp(-1))
    return torch.cat(parts)


if __name__ == "__main__":
    sys.exit(main())
