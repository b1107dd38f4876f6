"""Seconds of best-of-n and of a step search beside plain ``generate`` of as many tokens.

    python -m benchmarks.speed.sampling [--model FOLDER]

Each strategy, with a scorer that costs nothing, runs in turns with
``generate(num_return_sequences=n)`` on the same prompts; the ratio is that of the medians. Checked
first: one candidate is what plain ``generate`` samples. The rows of the packaged model differ in
the length of the prompts, since a strategy saves time by reading a prompt once, and in whether
candidates end at different places, since it saves time by dropping finished ones. A chat model is
asked one question of GSM8K; its candidates are of equal length.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from reason_decode import BestOfN, StepSearch, StepSplitter
from reason_decode.core.model_options import ModelOptions
from reason_decode.io.console import table
from reason_decode.models.inputs import encode_prompts
from reason_decode.models.loading import load_model
from reason_decode.scorers.base import Scorer, ScoreSpace

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n", "Make 11 from 1 2 3 4.\n"]
SHOTS = "Make 12 from 2 3 2.\n2 * 3 = 6 (left: 2 6)\n2 * 6 = 12 (left: 12)\n"
QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
    " How many clips did Natalia sell altogether in April and May?"
)


class ZeroScorer(Scorer):
    """A scorer that gives each step 0 and reads nothing.

    Args:
        tokens: tokens of a step; ``None``: a step is a line.
        tokenizer: the generator's, which counts them.
    """

    score_space: ScoreSpace = "probability"

    def __init__(self, tokens: int | None = None, tokenizer: Any = None) -> None:
        self.splitter = StepSplitter(tokens=tokens, tokenizer=tokenizer)

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """A zero for each step."""
        splits = (s if not isinstance(s, str) else self.splitter.split(s) for s in solutions)
        return [torch.zeros(max(1, len(steps))) for steps in splits]


class Case(NamedTuple):
    """One row of the table: a strategy and the inputs of both calls.

    Args:
        name: of the strategy.
        strategy: what is timed.
        inputs: of the tokenizer.
        ends: whether candidates may end by themselves.
    """

    name: str
    strategy: BestOfN | StepSearch
    inputs: dict[str, Any]
    ends: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Time both methods and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="folder of a chat model (default: the packaged model)")
    parser.add_argument("--n", type=int, default=16, help="candidates (default: 16)")
    parser.add_argument("--steps", type=int, default=4, help="steps of the search (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds (default: 3)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=120, help="tokens of a candidate (default: 120)"
    )
    args = parser.parse_args(argv)
    model, tokenizer = load_model(args.model or "tiny", ModelOptions(dtype="float32"))
    rows: list[dict[str, str]] = []
    for case in tqdm(_cases(args, tokenizer), unit="case", disable=None):
        options: dict[str, Any] = {
            **case.inputs,
            "do_sample": True,
            "max_new_tokens": args.max_new_tokens,
            "min_new_tokens": None if case.ends else args.max_new_tokens,
        }
        _check(model, tokenizer, options)
        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for seed in range(args.rounds):
            seconds["plain"].append(_time(model, seed, num_return_sequences=args.n, **options))
            seconds["ours"].append(_time(model, seed, custom_generate=case.strategy, **options))
        plain, ours = (statistics.median(times) for times in seconds.values())
        rows.append(
            {
                "strategy": case.name,
                "prompt tokens": str(case.inputs["input_ids"].shape[1]),
                "candidates": "end by themselves"
                if case.ends
                else f"all {args.max_new_tokens} tokens",
                "generate": f"{plain:.2f} s",
                "strategy's": f"{ours:.2f} s",
                "ratio": f"{ours / plain:.2f}",
            }
        )
    print(table(rows))
    return 0


def _cases(args: argparse.Namespace, tokenizer: Any) -> list[Case]:
    """The rows of the table."""
    best = BestOfN(ZeroScorer(), tokenizer=tokenizer, n=args.n)
    length = -(-args.max_new_tokens // args.steps)
    search = StepSearch(ZeroScorer(length, tokenizer), tokenizer=tokenizer, n=args.n)
    if args.model:
        chat = encode_prompts(tokenizer, [[{"role": "user", "content": QUESTION}]])
        return [Case("BestOfN", best, chat, False), Case("StepSearch", search, chat, False)]
    found = [
        dict(tokenizer([SHOTS * k + p for p in PROMPTS], return_tensors="pt", padding=True))
        for k in (0, 8)
    ]
    cases = [Case("BestOfN", best, inputs, ends) for inputs in found for ends in (True, False)]
    return [*cases, *(Case("StepSearch", search, inputs, False) for inputs in found)]


def _time(model: Any, seed: int, **options: Any) -> float:
    torch.manual_seed(seed)
    start = time.perf_counter()
    model.generate(**options)
    return time.perf_counter() - start


def _check(model: Any, tokenizer: Any, options: dict[str, Any]) -> None:
    """Raise unless ``BestOfN(n=1)`` gives the sample of plain ``generate``."""
    one = BestOfN(ZeroScorer(), tokenizer=tokenizer, n=1)
    samples: list[Tensor] = []
    for strategy in (None, one):
        torch.manual_seed(0)
        samples.append(model.generate(**options, custom_generate=strategy))
    if not torch.equal(*samples):
        raise AssertionError("BestOfN(n=1) does not sample as plain generate does")


if __name__ == "__main__":
    sys.exit(main())
