"""The tiny outcome reward model: ``python -m reason_decode.tiny.train_orm --out DIR``.

The base's own whole solutions, graded by the exact checkers, are all that it learns from.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from reason_decode.rows import write_rows
from reason_decode.tiny import export, sampled
from reason_decode.training import Labelled, Recipe, train_orm


def run(out: Path, base: Path, *, batches: int, recipe: Recipe) -> None:
    """Sample and grade, once; train; write ``out/model``.

    Args:
        out: the folder of everything.
        base: the tiny base, a checkpoint.
        batches: see ``draw_whole``.
        recipe: how to learn.
    """
    out.mkdir(parents=True, exist_ok=True)
    words = AutoTokenizer.from_pretrained(base)
    pool = out / "whole.jsonl"
    if not pool.exists():
        write_rows(pool, _graded(base, words, batches, recipe.seed))
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    solutions = [
        Labelled(
            row["prompt"], tuple(row["steps"]), (None,) * len(row["steps"]), None, row["right"]
        )
        for row in rows
    ]
    train_orm(base, words, solutions, out / "trained", recipe=recipe)
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
    parser.add_argument("--base", type=Path, help="a checkpoint; default: the packaged base")
    parser.add_argument("--batches", type=int, default=48, help="of samples (default: 48)")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    base = args.base or Path(__file__).parent / "weights" / "base"
    recipe = Recipe(epochs=args.epochs, batch=64, learning_rate=5e-4, seed=args.seed)
    run(args.out, base, batches=args.batches, recipe=recipe)


if __name__ == "__main__":
    main()
