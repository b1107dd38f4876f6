"""The tiny outcome reward model: ``python -m examples.tiny.train_orm --out DIR``.

It goes on from the process reward model, and learns from whole solutions and from nothing but
whether each is right: the base's own, graded by the exact checkers, and made ones of problems of
any size, half of them with a wrong answer. From the base it would have to find out from one bit a
solution what a wrong step is.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from examples.tiny import countdown_problems, countdown_work, export, sampled
from examples.tiny import surface_variation as rough
from reason_decode.io.jsonl import write_rows
from reason_decode.tasks import countdown
from reason_decode.training import LabelledSolution, TrainingConfig, train_orm

# Of the made solutions: rewritten as other models write.
_ROUGH = 0.4
_DEALT, _MOST = 12, 200


def made(seed: int, count: int) -> Iterator[LabelledSolution]:
    """Whole countdown solutions, every other one with an answer that is wrong.

    The base's own are seldom right, and only of its own kind of problem.
    """
    for k in range(count):
        rng = random.Random(f"whole/{seed}/{k}")
        # What can be made of numbers takes long to find, and is found once for many targets.
        numbers = _numbers(random.Random(f"whole/{seed}/numbers/{k // _DEALT}"))
        target = rng.choice(countdown_problems.targets(numbers, _MOST))
        last = len(numbers) - 1
        work = countdown_work.write(rng, numbers, target, last if k % 2 else None)
        if rng.random() < _ROUGH:
            work = rough.roughen(rng, work)
        yield _labelled(work.prompt, work.steps, all(work.right))


def _numbers(rng: random.Random) -> countdown.State:
    while True:
        numbers, _ = (
            countdown_problems.varied(rng)
            if rng.random() < 0.5
            else countdown_problems.solvable(rng)
        )
        if countdown_problems.targets(numbers, _MOST):
            return numbers


def _labelled(prompt: str, steps: Sequence[str], right: bool) -> LabelledSolution:
    return LabelledSolution(prompt, tuple(steps), (None,) * len(steps), None, right)


def run(
    out: Path, base: Path, start: Path, *, batches: int, count: int, recipe: TrainingConfig
) -> None:
    """Sample and grade, once; train; write ``out/model``.

    Args:
        out: the folder of everything.
        base: the tiny base, a checkpoint, which samples.
        start: the checkpoint to go on from.
        batches: see ``draw_whole``.
        count: of solutions that are made.
        recipe: how to learn.
    """
    out.mkdir(parents=True, exist_ok=True)
    words = AutoTokenizer.from_pretrained(base)
    pool = out / "whole.jsonl"
    if not pool.exists():
        write_rows(pool, _graded(base, words, batches, recipe.seed))
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    solutions = [_labelled(row["prompt"], row["steps"], row["right"]) for row in rows]
    solutions += made(recipe.seed, count)
    train_orm(start, words, solutions, out / "trained", recipe=recipe)
    judge = AutoModelForSequenceClassification.from_pretrained(out / "trained")
    export.orm(out, out / "trained", judge)


def _graded(
    base: Path, words: PreTrainedTokenizerBase, batches: int, seed: int
) -> Iterator[dict[str, Any]]:
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    with torch.no_grad():
        for prompt, steps, right in sampled.draw_whole(model, words, seed, batches):
            yield {"prompt": prompt, "steps": steps, "right": right}


def main() -> None:
    """Parse the command line and run what is left to do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of samples and models")
    parser.add_argument("--base", type=Path, help="samples; default: the packaged base")
    parser.add_argument("--start", type=Path, help="goes on from; default: the packaged verifier")
    parser.add_argument("--batches", type=int, default=48, help="of samples (default: 48)")
    parser.add_argument("--made", type=int, default=30_000, help="solutions (default: 30,000)")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    weights = Path(__file__).parent / "weights"
    base, start = args.base or weights / "base", args.start or weights / "prm"
    how: dict[str, Any] = {"batch": 16, "accumulate": 4, "learning_rate": 5e-4}
    recipe = TrainingConfig(epochs=args.epochs, seed=args.seed, **how)
    run(args.out, base, start, batches=args.batches, count=args.made, recipe=recipe)


if __name__ == "__main__":
    main()
