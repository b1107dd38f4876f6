"""Log-probabilities from logits: seconds and memory beside reading the logits once.

    python -m benchmarks.speed.bench_token_logprobs --preset small-vocabulary llama-3.2-1b

The floor is a copy of the logits, which reads each byte once (and writes it, as no way has to).
Checked first, against float64.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.kernel_table import Case, Way, inputs, negative, optional, run, same
from reason_decode.kernels import token_logprobs


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, print."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """The copy, ours, and the usual expressions."""
    (hidden,), weight, targets = inputs(args, preset, contexts=1)
    logits = hidden @ weight.T
    copy = torch.empty_like(logits)

    def naive() -> Tensor:
        logp = logits.float().log_softmax(-1)
        return logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def minus() -> Tensor:
        picked = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return picked - logits.float().logsumexp(-1)

    def cross_entropy() -> Tensor:
        return F.cross_entropy(logits.float(), targets, reduction="none")

    ways = [
        Way("copy (the floor)", lambda: copy.copy_(logits)),
        Way("ours", lambda: token_logprobs(logits, targets), same),
        Way("naive", naive, same),
        Way("gather - logsumexp", minus, same),
        Way("F.cross_entropy", cross_entropy, negative),
        Way("torch.compile(naive)", torch.compile(naive), same),
    ]
    liger = optional("liger_kernel.transformers") if logits.is_cuda else None
    if liger is not None:
        loss = liger.LigerCrossEntropyLoss(reduction="none")
        ways.append(Way("Liger", lambda: loss(logits.clone(), targets), negative))
    rows, vocabulary = logits.shape
    return Case(
        f"{preset}: {rows} rows, {vocabulary} columns, {args.dtype}",
        ways,
        token_logprobs(logits.double(), targets),
        5.0 * logits.numel(),
        logits.numel() * logits.element_size(),
    )


if __name__ == "__main__":
    sys.exit(main())
