"""Loss deltas of two contexts: seconds and memory beside the two plain products.

    python -m benchmarks.speed.bench_loss_delta --preset small-vocabulary llama-3.2-1b

The floor is ``torch.mm`` for the states of either context. Naive is two passes that build all the
logits, each segment then summed by itself. Checked first, against float64.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.speed.kernel_table import Case, Way, inputs, run, same
from reason_decode.kernels import linear_token_logprobs, loss_delta

LENGTH = 24  # tokens of a segment: a sentence


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, print."""
    return run(__doc__ or "", argv, build)


def build(args: argparse.Namespace, preset: str) -> Case:
    """The two products, ours, and two passes."""
    (told, untold), weight, targets = inputs(args, preset, contexts=2)
    rows, width = told.shape
    ends = [*range(0, rows, LENGTH), rows]
    segments = torch.tensor(ends, device=args.device)

    def naive() -> Tensor:
        logps = [
            (hidden @ weight.T).float().log_softmax(-1).gather(-1, targets.unsqueeze(-1))
            for hidden in (told, untold)
        ]
        return _sums((logps[0] - logps[1]).squeeze(-1), ends)

    def twice() -> Tensor:
        logps = [linear_token_logprobs(hidden, weight, targets) for hidden in (told, untold)]
        return _sums(logps[0] - logps[1], ends)

    def ours() -> Tensor:
        return loss_delta(told, untold, weight, targets, segments).sums

    ways = [
        Way("two torch.mm (the floor)", lambda: [hidden @ weight.T for hidden in (told, untold)]),
        Way("ours", ours, same),
        Way("linear_token_logprobs twice", twice, same),
        Way("naive", naive, same),
        Way("torch.compile(naive)", torch.compile(naive), same),
    ]
    truth = [
        linear_token_logprobs(hidden.double(), weight.double(), targets)
        for hidden in (told, untold)
    ]
    return Case(
        f"{preset}: 2 x {rows} rows, {width} wide, {len(weight)} columns, {args.dtype}",
        ways,
        _sums(truth[0] - truth[1], ends),
        4.0 * rows * width * len(weight),
        told.element_size() * (2 * told.numel() + weight.numel()),
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
