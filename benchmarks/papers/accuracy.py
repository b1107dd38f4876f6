r"""Accuracy of every strategy on a public task, over seeds.

    python -m benchmarks.papers.accuracy --task game24 --input ../shared/data/game24/24.csv \
        --rows 901:1001

Each row is one setting: mean and range of the accuracy over the seeds, and tokens sampled, tokens
scored and seconds of an item. ``pass@16`` is the share of items for which at least one of the
candidates of best-of-16 is right, and ``covered`` is::

    (accuracy - single sample) / (pass@16 - single sample)

Checked first: the task accepts a right and refuses a wrong solution of the first item.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from tqdm import tqdm

from examples.tiny import countdown_solutions
from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    RationaleGuided,
    SelfConsistency,
    StepSearch,
    tiny,
)
from reason_decode.evaluation import evaluate
from reason_decode.io.console import table
from reason_decode.tasks import TASKS, Item, Task, arithmetic, countdown

# The first eight run by default.
SETTINGS = (
    "greedy",
    "sample",
    "majority 16",
    "best of 16",
    "weighted vote 16",
    "step search 8",
    "step search 8, beam 10",
    "best of 64",
    "early vote 16",
    "likelihood vote 16",
    "vote 16 ranked, 1+s",
    "vote 16 ranked, s",
    "best of 16 by the ranker",
    "step search 16",
    "step search 8, beam 2",
    "step search 8, 2 subtrees",
    "step search 8, lookahead 1",
    "rationales 16, implicit",
    "rationales 16, explicit",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the settings, print the table, write every result."""
    args = _arguments(argv)
    task = TASKS[args.task]
    items = task.load(args.input, args.rows)[0][: args.limit]
    _check_grading(task, items[0])
    models = tiny.load()
    results: dict[str, list[dict[str, Any]]] = {}
    for setting in tqdm(args.settings, unit="setting", disable=None):
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            if setting == "greedy" and seed:
                continue
            result = evaluate(
                models.model,
                models.tokenizer,
                _strategy(setting, models, task),
                items,
                task,
                batch_size=args.batch_size,
                temperature=0.0 if setting == "greedy" else args.temperature,
                seed=seed,
            )
            del result["rows"]
            results.setdefault(setting, []).append(result)
            if args.output:
                with args.output.open("a") as file:
                    file.write(json.dumps({"setting": setting, **result}) + "\n")
    print(table(_rows(results)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, required=True, help="the task")
    parser.add_argument("--input", required=True, help="the task's file")
    parser.add_argument("--rows", help="FIRST:LAST of the file (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many items")
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS[:8]),
        help="rows of the table (default: the first eight)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of a setting (default: 3)")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="to split a table over processes (default: 0)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="prompts a batch (default: 16)")
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: 1)")
    parser.add_argument("--output", type=Path, help="append every result to this .jsonl file")
    return parser.parse_args(argv)


def _strategy(setting: str, models: tiny.Tiny, task: Task) -> Any:
    """The strategy of a setting; ``None`` for plain ``generate``."""
    tokenizer, prm = models.tokenizer, models.prm
    if setting.startswith("rationales"):
        mode: Any = setting.split()[-1]
        return RationaleGuided(models.rationalyst, tokenizer=tokenizer, n=16, supervision=mode)
    if "rank" in setting:
        if setting.startswith("best"):
            return BestOfN(models.ranker, tokenizer=tokenizer, n=16)
        weighting: Any = setting.split()[-1]
        return SelfConsistency(
            tokenizer=tokenizer, n=16, scorer=models.ranker, vote_weighting=weighting
        )
    likelihood = LikelihoodScorer(models.model, tokenizer, chat=False, per_step=False)
    search = StepSearch(prm, tokenizer=tokenizer, n=8, state_key=task.state_key)
    return {
        "greedy": None,
        "sample": None,
        "majority 16": SelfConsistency(tokenizer=tokenizer, n=16),
        "best of 16": BestOfN(models.verifier, tokenizer=tokenizer, n=16),
        "weighted vote 16": SelfConsistency(tokenizer=tokenizer, n=16, scorer=models.verifier),
        "step search 8": search,
        "step search 8, beam 10": replace(search, beam_width=10, margin=0.85),
        "best of 64": BestOfN(models.verifier, tokenizer=tokenizer, n=64),
        "early vote 16": SelfConsistency(tokenizer=tokenizer, n=16, early_stop=0.93),
        "likelihood vote 16": SelfConsistency(tokenizer=tokenizer, n=16, scorer=likelihood),
        "step search 16": replace(search, n=16),
        "step search 8, beam 2": replace(search, beam_width=2),
        "step search 8, 2 subtrees": replace(search, beam_width=2, subtrees=2),
        "step search 8, lookahead 1": replace(search, lookahead=1),
    }[setting]


def _check_grading(task: Task, item: Item) -> None:
    """Raise unless the task accepts a worked solution, and refuses it without its answer."""
    problem = countdown.parse_prompt(item.prompt)
    if problem is None:
        steps = [str(line) for line in arithmetic.solve(item.prompt.strip().removesuffix("="))]
    else:
        steps = list(countdown_solutions.write(random.Random(0), *problem).steps)
    if not task.grade(item, "\n".join(steps)) or task.grade(item, "\n".join(steps[:-1])):
        raise AssertionError(f"{task.name} grades {item.prompt!r} wrongly")


def _rows(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    accuracy = {name: mean(r["accuracy"] for r in runs) for name, runs in results.items()}
    single = accuracy.get("sample")
    pass_at_16 = [r["pass_at_n"] for r in results.get("best of 16", ())]
    rows: list[dict[str, str]] = []
    for name, runs in results.items():
        values = [100 * r["accuracy"] for r in runs]
        items = runs[0]["items"]
        covered = "-"
        if single is not None and pass_at_16 and name not in ("greedy", "sample"):
            covered = f"{100 * (accuracy[name] - single) / (mean(pass_at_16) - single):.0f} %"
        rows.append(
            {
                "setting": name,
                "accuracy": f"{mean(values):.1f} %",
                "range": f"{min(values):.1f}-{max(values):.1f}",
                "covered": covered,
                "sampled": f"{mean(r['cost']['generator']['sampled'] for r in runs) / items:.0f}",
                "scored": f"{mean(r['cost']['scorer']['read'] for r in runs) / items:.0f}",
                "s/item": f"{mean(r['seconds'] for r in runs) / items:.3f}",
            }
        )
    if pass_at_16:
        rows.append(
            {
                "setting": "pass@16",
                "accuracy": f"{100 * mean(pass_at_16):.1f} %",
                "range": f"{100 * min(pass_at_16):.1f}-{100 * max(pass_at_16):.1f}",
                **dict.fromkeys(("covered", "sampled", "scored", "s/item"), "-"),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
