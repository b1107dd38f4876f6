"""Time and memory of ``token_logprobs`` beside other ways from logits to log-probabilities.

    python -m benchmarks.speed.bench_token_logprobs --preset small-vocabulary llama-3.2-1b

The lower bound is a copy of the logits, which reads each byte once, and also writes it, which no
method has to. Every method is first checked against float64.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.kernel_table import (
    Case,
    Method,
    as_is,
    import_optional,
    inputs,
    negated,
    run,
)
from reason_decode.kernels import token_logprobs


def main(argv: Sequence[str] | None = None) -> int:
    """Check and time the methods, print the tables."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """The case of one preset: the copy, ours, and the usual expressions."""
    (hidden,), weight, targets = inputs(args, preset, contexts=1)
    logits = hidden @ weight.T
    copy = torch.empty_like(logits)

    def naive() -> Tensor:
        logp = logits.float().log_softmax(-1)
        return logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def gathered() -> Tensor:
        picked = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return picked - logits.float().logsumexp(-1)

    def cross_entropy() -> Tensor:
        return F.cross_entropy(logits.float(), targets, reduction="none")

    methods = [
        Method("copy (the floor)", lambda: copy.copy_(logits)),
        Method("ours", lambda: token_logprobs(logits, targets), as_is),
        Method("naive", naive, as_is),
        Method("gather - logsumexp", gathered, as_is),
        Method("F.cross_entropy", cross_entropy, negated),
        Method("torch.compile(naive)", torch.compile(naive), as_is),
    ]
    liger = import_optional("liger_kernel.transformers") if logits.is_cuda else None
    if liger is not None:
        loss = liger.LigerCrossEntropyLoss(reduction="none")
        methods.append(Method("Liger", lambda: loss(logits.clone(), targets), negated))
    rows, vocabulary = logits.shape
    return Case(
        f"{preset}: {rows} rows, {vocabulary} columns, {args.dtype}",
        methods,
        token_logprobs(logits.double(), targets),
        5.0 * logits.numel(),
        logits.numel() * logits.element_size(),
    )


if __name__ == "__main__":
    sys.exit(main())
