"""Train the tiny outcome reward model: ``python -m examples.tiny.train_orm --out DIR``.

It starts from the process reward model and learns only whether the answer of a whole solution is
right: from solutions that the base samples, graded exactly, and from generated solutions of
problems of any size, half of them with a wrong answer. Starting from the base it would have to
find out from one bit a solution what a wrong step is.
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

from examples.tiny import countdown_problems, countdown_solutions, export
from examples.tiny.sampled_solutions import sample_whole
from examples.tiny.surface_variation import vary_surface
from reason_decode.io.jsonl import write_rows
from reason_decode.models.loading import packaged
from reason_decode.tasks import countdown
from reason_decode.training import LabelledSolution, ORMConfig, train_orm

# Share of the generated solutions that are rewritten in another model's style.
_SURFACE_VARIATION = 0.4
# So many solutions have the same numbers and other targets, so that reach is computed once.
_SOLUTIONS_PER_NUMBERS = 12
_LARGEST_TARGET = 200


def generate_solutions(seed: int, count: int) -> Iterator[LabelledSolution]:
    """Random whole countdown solutions, every other one with a wrong answer.

    The base's own solutions are seldom right, and only of its own kind of problem.

    Args:
        seed: seed of all solutions.
        count: number of solutions.
    """
    for k in range(count):
        rng = random.Random(f"whole/{seed}/{k}")
        deal = k // _SOLUTIONS_PER_NUMBERS
        numbers = _numbers(random.Random(f"whole/{seed}/numbers/{deal}"))
        target = rng.choice(countdown_problems.targets(numbers, _LARGEST_TARGET))
        answer = len(numbers) - 1
        solution = countdown_solutions.write(rng, numbers, target, answer if k % 2 else None)
        if rng.random() < _SURFACE_VARIATION:
            solution = vary_surface(rng, solution)
        yield _labelled(solution.prompt, solution.steps, all(solution.right))


def _numbers(rng: random.Random) -> countdown.State:
    """Random numbers, of any size or of the base's kind, from which a target can be reached."""
    while True:
        numbers, _ = (
            countdown_problems.varied(rng)
            if rng.random() < 0.5
            else countdown_problems.solvable(rng)
        )
        if countdown_problems.targets(numbers, _LARGEST_TARGET):
            return numbers


def _labelled(prompt: str, steps: Sequence[str], right: bool) -> LabelledSolution:
    return LabelledSolution(prompt, tuple(steps), (None,) * len(steps), None, right)


def run(
    out: Path, base: Path, start: Path, *, batches: int, generated: int, config: ORMConfig
) -> None:
    """Sample and grade solutions, unless that is done; train; write ``out/model``.

    Args:
        out: folder for samples, checkpoints and the result.
        base: checkpoint of the tiny base, which samples.
        start: the checkpoint to start from.
        batches: batches of samples, see ``sample_whole``.
        generated: number of generated solutions.
        config: options of the training.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(base)
    samples = out / "whole.jsonl"
    if not samples.exists():
        write_rows(samples, _sample_graded(base, tokenizer, batches, config.seed))
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    solutions = [_labelled(row["prompt"], row["steps"], row["right"]) for row in rows]
    solutions += generate_solutions(config.seed, generated)
    train_orm(start, tokenizer, solutions, out / "trained", config)
    model = AutoModelForSequenceClassification.from_pretrained(out / "trained")
    export.orm(out, out / "trained", model)


def _sample_graded(
    base: Path, tokenizer: PreTrainedTokenizerBase, batches: int, seed: int
) -> Iterator[dict[str, Any]]:
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    with torch.no_grad():
        for prompt, steps, right in sample_whole(model, tokenizer, seed, batches):
            yield {"prompt": prompt, "steps": steps, "right": right}


def main() -> None:
    """Parse the command line and run the stages that are left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of samples and models")
    parser.add_argument(
        "--base", type=Path, default=packaged("base"), help="samples (default: the packaged base)"
    )
    parser.add_argument(
        "--start", type=Path, default=packaged("prm"), help="(default: the packaged PRM)"
    )
    parser.add_argument("--batches", type=int, default=48, help="batches of samples (default: 48)")
    parser.add_argument(
        "--generated", type=int, default=30_000, help="generated solutions (default: 30,000)"
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="(default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    args = parser.parse_args()
    config = ORMConfig(
        num_train_epochs=args.epochs,
        seed=args.seed,
        batch_size=16,
        gradient_accumulation_steps=4,
        learning_rate=5e-4,
    )
    options = {"batches": args.batches, "generated": args.generated}
    run(args.out, args.base, args.start, **options, config=config)


if __name__ == "__main__":
    main()
