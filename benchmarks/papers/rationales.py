"""Accuracy of step selection by rationales beside equally many candidates without rationales.

    python -m benchmarks.papers.rationales --input ../shared/data/game24/24.csv --rows 901:1001

Every setting but greedy decoding samples 3 next steps from the same generator and keeps one of
them: a random one (the paper's baseline), the likeliest by the generator or by the rationale model
without a rationale, or the likeliest after a rationale (implicit supervision). In explicit
supervision the generator reads the rationale before it samples; "by the rationalyst" means that the
rationale model generates, which has learnt to read rationales. The process reward model is in the
table for comparison; it is trained on labels, which the others do not need.

Each row has the mean and the range over the seeds, with tokens sampled and read for an item.
Checked first: the rationale model writes a rationale, and it changes the likelihood of a step.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from reason_decode import LikelihoodScorer, RationaleGuided, RationaleScorer, StepSearch, tiny
from reason_decode.core.solutions import to_steps
from reason_decode.evaluation import evaluate
from reason_decode.io.console import table
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.loading import load_rationale_scorer
from reason_decode.tasks import TASKS, Item

# The first seven run by default.
SETTINGS = (
    "greedy",
    "random",
    "likelihood",
    "likelihood by the rationalyst",
    "implicit",
    "explicit",
    "process reward model",
    "likelihood, summed",
    "likelihood by the rationalyst, summed",
    "implicit, summed",
    "implicit, contrastive",
    "implicit, discounted",
    "implicit, likelihood by the generator",
    "explicit by the rationalyst",
    "greedy by the rationalyst",
)


class RandomScorer(Scorer):
    """A scorer that gives every step a random number."""

    score_space: ScoreSpace = "probability"

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """A random number for every step."""
        steps = to_steps(solutions, self.splitter)
        return [torch.tensor([self.rng.random() for _ in listed]) for listed in steps]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the settings, print the table, write every result."""
    args = _arguments(argv)
    task = TASKS[args.task]
    items = task.load(args.input, args.rows)[0][: args.limit]
    models = tiny.load()
    rationalyst = load_rationale_scorer(args.rationalyst)
    _check_rationale(rationalyst, items[0])
    rows: list[dict[str, str]] = []
    for setting in tqdm(args.settings, unit="setting", disable=None):
        runs: list[dict[str, Any]] = []
        greedy = setting.startswith("greedy")
        for seed in range(1 if greedy else args.seeds):
            by_rationalyst = setting.endswith("by the rationalyst") and "likel" not in setting
            result = evaluate(
                rationalyst.writer.model if by_rationalyst else models.model,
                rationalyst.writer.tokenizer if by_rationalyst else models.tokenizer,
                _strategy(setting, models, rationalyst, args.n, seed),
                items,
                task,
                batch_size=args.batch_size,
                temperature=0.0 if greedy else args.temperature,
                seed=seed,
            )
            del result["rows"]
            runs.append(result)
            if args.output:
                with args.output.open("a") as file:
                    file.write(json.dumps({"setting": setting, **result}) + "\n")
        rows.append(_row(setting, runs))
    print(table(rows))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, default="game24", help="(default: game24)")
    parser.add_argument("--input", required=True, help="the task's file")
    parser.add_argument("--rows", help="FIRST:LAST of the file (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many items")
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS[:7]),
        help="rows of the table (default: the first seven)",
    )
    parser.add_argument(
        "--rationalyst", default="tiny", help="tiny, a folder or a Hub id (default: tiny)"
    )
    parser.add_argument("--n", type=int, default=3, help="candidates of a step (default: 3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a setting (default: 3)")
    parser.add_argument("--batch-size", type=int, default=50, help="prompts a batch (default: 50)")
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: 1)")
    parser.add_argument("--output", type=Path, help="append every result to this .jsonl file")
    return parser.parse_args(argv)


def _strategy(
    setting: str, models: tiny.Tiny, rationalyst: RationaleScorer, n: int, seed: int
) -> Any:
    """The strategy of a setting; ``None`` for plain ``generate``."""
    tokenizer, writer = models.tokenizer, rationalyst.writer
    options: dict[str, Any] = {"tokenizer": tokenizer, "n": n}
    random_scorer = RandomScorer(seed)
    by_generator = RationaleScorer(writer, models.model, tokenizer, chat=False)

    def implicit(**scoring: Any) -> RationaleGuided:
        return RationaleGuided(RationaleScorer(writer, **scoring), **options)

    return {
        "greedy": lambda: None,
        "greedy by the rationalyst": lambda: None,
        "random": lambda: StepSearch(random_scorer, **options),
        "likelihood": lambda: StepSearch(
            LikelihoodScorer(models.model, tokenizer, chat=False), **options
        ),
        "likelihood by the rationalyst": lambda: StepSearch(
            LikelihoodScorer(writer.model, writer.tokenizer), **options
        ),
        "likelihood, summed": lambda: StepSearch(
            LikelihoodScorer(models.model, tokenizer, chat=False, length_normalize=False), **options
        ),
        "likelihood by the rationalyst, summed": lambda: StepSearch(
            LikelihoodScorer(writer.model, writer.tokenizer, length_normalize=False), **options
        ),
        "implicit": implicit,
        "implicit, summed": lambda: implicit(length_normalize=False),
        "implicit, contrastive": lambda: implicit(contrastive=True),
        "implicit, discounted": lambda: implicit(discount=0.9),
        "implicit, likelihood by the generator": lambda: RationaleGuided(by_generator, **options),
        "explicit": lambda: RationaleGuided(rationalyst, **options, supervision="explicit"),
        "explicit by the rationalyst": lambda: RationaleGuided(
            rationalyst, tokenizer=writer.tokenizer, n=n, supervision="explicit"
        ),
        "process reward model": lambda: StepSearch(models.prm, **options),
    }[setting]()


def _check_rationale(rationalyst: RationaleScorer, item: Item) -> None:
    """Raise unless the model writes a rationale that changes the likelihood of a step."""
    session = rationalyst.start_session([item.prompt])
    (rationale,) = session.before_round()
    step = [["1 + 1 = 2 (left: 2)"]]
    ((with_rationale,),) = session.score([step], keep_cache=False)
    plain = LikelihoodScorer(rationalyst.model, rationalyst.tokenizer, chat=rationalyst.chat)
    (without,) = plain.score([item.prompt], step)
    if not rationale or torch.allclose(with_rationale, without.log(), atol=1e-4):
        raise AssertionError(f"the rationale {rationale!r} changes nothing")


def _row(setting: str, runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    values = [100 * run["accuracy"] for run in runs]
    items = runs[0]["items"]
    return {
        "pick": setting,
        "accuracy": f"{mean(values):.1f} %",
        "range": f"{min(values):.1f}-{max(values):.1f}",
        "sampled": f"{mean(run['cost']['generator']['sampled'] for run in runs) / items:.0f}",
        "read to score": f"{mean(run['cost']['scorer']['read'] for run in runs) / items:.0f}",
        "s/item": f"{mean(run['seconds'] for run in runs) / items:.3f}",
    }


if __name__ == "__main__":
    sys.exit(main())
