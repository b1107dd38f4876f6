"""Time and memory of ``loss_delta`` beside two forward products of the output matrix.

    python -m benchmarks.speed.bench_loss_delta --preset small-vocabulary llama-3.2-1b

The lower bound is ``torch.mm`` of the hidden states of both contexts. The naive method builds all
logits twice and sums each segment by itself. Every method is first checked against float64.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.speed.kernel_table import Case, Method, as_is, inputs, run
from reason_decode.kernels import linear_token_logprobs, loss_delta

LENGTH = 24  # tokens of a segment, about a sentence


def main(argv: Sequence[str] | None = None) -> int:
    """Check and time the methods, print the tables."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """The case of one preset: the two products, ours, and two passes."""
    (with_rationale, without), weight, targets = inputs(args, preset, contexts=2)
    rows, width = with_rationale.shape
    ends = [*range(0, rows, LENGTH), rows]
    segments = torch.tensor(ends, device=args.device)

    def naive() -> Tensor:
        logps = [
            (hidden @ weight.T).float().log_softmax(-1).gather(-1, targets.unsqueeze(-1))
            for hidden in (with_rationale, without)
        ]
        return _sums((logps[0] - logps[1]).squeeze(-1), ends)

    def twice() -> Tensor:
        logps = [
            linear_token_logprobs(hidden, weight, targets) for hidden in (with_rationale, without)
        ]
        return _sums(logps[0] - logps[1], ends)

    def ours() -> Tensor:
        return loss_delta(with_rationale, without, weight, targets, segments).sums

    def products() -> list[Tensor]:
        return [hidden @ weight.T for hidden in (with_rationale, without)]

    methods = [
        Method("two torch.mm (the floor)", products),
        Method("ours", ours, as_is),
        Method("linear_token_logprobs twice", twice, as_is),
        Method("naive", naive, as_is),
        Method("torch.compile(naive)", torch.compile(naive), as_is),
    ]
    expected = [
        linear_token_logprobs(hidden.double(), weight.double(), targets)
        for hidden in (with_rationale, without)
    ]
    return Case(
        f"{preset}: 2 x {rows} rows, {width} wide, {len(weight)} columns, {args.dtype}",
        methods,
        _sums(expected[0] - expected[1], ends),
        4.0 * rows * width * len(weight),
        without.element_size() * (2 * without.numel() + weight.numel()),
    )


def _sums(delta: Tensor, ends: Sequence[int]) -> Tensor:
    """``sum_i 0.9**i delta_i`` of each segment."""
    weights = 0.9 ** torch.arange(LENGTH, device=delta.device, dtype=delta.dtype)
    return torch.stack(
        [
            (delta[start:end] * weights[: end - start]).sum()
            for start, end in zip(ends[:-1], ends[1:], strict=True)
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
