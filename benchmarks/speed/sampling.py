"""Seconds of sampling n candidates with a strategy beside plain ``generate``.

    python -m benchmarks.speed.sampling

``BestOfN`` with a scorer that costs nothing runs in turns with ``generate(num_return_sequences=n)``
on the same prompts; the ratio is that of the medians. Checked first: one candidate is what plain
``generate`` samples. The rows differ in the length of the prompts, since a strategy saves time by
reading a prompt once, and in whether candidates end at different places, since it saves time by
dropping finished ones.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from reason_decode import BestOfN, tiny
from reason_decode.io.console import table
from reason_decode.scorers.base import Scorer, ScoreSpace

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n", "Make 11 from 1 2 3 4.\n"]
SHOTS = "Make 12 from 2 3 2.\n2 * 3 = 6 (left: 2 6)\n2 * 6 = 12 (left: 12)\n"


class ZeroScorer(Scorer):
    """A scorer that gives each solution 0 and reads nothing."""

    score_space: ScoreSpace = "probability"

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """A zero for each solution."""
        return [torch.zeros(1) for _ in solutions]


def main(argv: Sequence[str] | None = None) -> int:
    """Time both methods and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, default=16, help="candidates (default: 16)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds (default: 3)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=120, help="tokens of a candidate (default: 120)"
    )
    args = parser.parse_args(argv)
    models = tiny.load()
    best = BestOfN(ZeroScorer(), tokenizer=models.tokenizer, n=args.n)
    rows: list[dict[str, str]] = []
    cases = [(shots, ends) for shots in (0, 8) for ends in (True, False)]
    for shots, ends in tqdm(cases, unit="case", disable=None):
        inputs = models.tokenizer(
            [SHOTS * shots + prompt for prompt in PROMPTS], return_tensors="pt", padding=True
        )
        options: dict[str, Any] = {
            **inputs,
            "do_sample": True,
            "max_new_tokens": args.max_new_tokens,
        }
        if not ends:
            options["min_new_tokens"] = args.max_new_tokens
        _check(models, options)
        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for seed in range(args.rounds):
            seconds["plain"].append(_time(models, seed, num_return_sequences=args.n, **options))
            seconds["ours"].append(_time(models, seed, custom_generate=best, **options))
        plain, ours = (statistics.median(times) for times in seconds.values())
        rows.append(
            {
                "prompt tokens": str(inputs["input_ids"].shape[1]),
                "candidates": "end by themselves" if ends else f"all {args.max_new_tokens} tokens",
                "generate": f"{plain:.2f} s",
                "BestOfN": f"{ours:.2f} s",
                "ratio": f"{ours / plain:.2f}",
            }
        )
    print(table(rows))
    return 0


def _time(models: tiny.Tiny, seed: int, **options: Any) -> float:
    torch.manual_seed(seed)
    start = time.perf_counter()
    models.model.generate(**options)
    return time.perf_counter() - start


def _check(models: tiny.Tiny, options: dict[str, Any]) -> None:
    """Raise unless ``BestOfN(n=1)`` gives the sample of plain ``generate``."""
    one = BestOfN(ZeroScorer(), tokenizer=models.tokenizer, n=1)
    samples: list[Tensor] = []
    for strategy in (None, one):
        torch.manual_seed(0)
        samples.append(models.model.generate(**options, custom_generate=strategy))
    if not torch.equal(*samples):
        raise AssertionError("BestOfN(n=1) does not sample as plain generate does")


if __name__ == "__main__":
    sys.exit(main())
