"""Accuracy of every strategy on a public task, over seeds: the table of the README.

    python -m benchmarks.papers.accuracy --task game24 --data ../shared/data/game24/24.csv --rows 901:1001

Each row is one setting: mean and range of the accuracy over the seeds, tokens sampled and scored an
item, seconds an item. ``pass@16`` is the share of items of which any of best-of-16's candidates is
right, and ``covered`` how much of the way from the single sample to it a strategy goes::

    (accuracy - single sample) / (pass@16 - single sample)

Grading is checked first: a right and a wrong solution of the first item must come out as such.
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

# The first eight are run if none are named.
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS[:8]))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="to share a table out to runs")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="write every result here, one a line")
    args = parser.parse_args(argv)
    task = TASKS[args.task]
    items = task.load(args.data, args.rows)[0][: args.limit]
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
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps({"setting": setting, **result}) + "\n")
    print(table(_rows(results)))
    return 0


def _strategy(setting: str, models: tiny.Tiny, task: Task) -> Any:
    words, prm = models.tokenizer, models.prm
    if setting.startswith("rationales"):
        how: Any = setting.split()[-1]
        return RationaleGuided(models.rationalyst, tokenizer=words, n=16, supervision=how)
    if "rank" in setting:
        if setting.startswith("best"):
            return BestOfN(models.ranker, tokenizer=words, n=16)
        form: Any = setting.split()[-1]
        return SelfConsistency(tokenizer=words, n=16, scorer=models.ranker, vote_weighting=form)
    likely = LikelihoodScorer(models.model, words, chat=False, per_step=False)
    search = StepSearch(prm, tokenizer=words, n=8, state_key=task.state_key)
    return {
        "greedy": None,
        "sample": None,
        "majority 16": SelfConsistency(tokenizer=words, n=16),
        "best of 16": BestOfN(models.verifier, tokenizer=words, n=16),
        "weighted vote 16": SelfConsistency(tokenizer=words, n=16, scorer=models.verifier),
        "step search 8": search,
        "step search 8, beam 10": replace(search, beam_width=10, margin=0.85),
        "best of 64": BestOfN(models.verifier, tokenizer=words, n=64),
        "early vote 16": SelfConsistency(tokenizer=words, n=16, early_stop=0.93),
        "likelihood vote 16": SelfConsistency(tokenizer=words, n=16, scorer=likely),
        "step search 16": replace(search, n=16),
        "step search 8, beam 2": replace(search, beam_width=2),
        "step search 8, 2 subtrees": replace(search, beam_width=2, subtrees=2),
        "step search 8, lookahead 1": replace(search, lookahead=1),
    }[setting]


def _check_grading(task: Task, item: Item) -> None:
    problem = countdown.parse_prompt(item.prompt)
    if problem is None:
        work = [str(line) for line in arithmetic.solve(item.prompt.strip().removesuffix("="))]
    else:
        work = list(countdown_solutions.write(random.Random(0), *problem).steps)
    if not task.grade(item, "\n".join(work)) or task.grade(item, "\n".join(work[:-1])):
        raise AssertionError(f"{task.name} grades {item.prompt!r} wrongly")


def _rows(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    accuracy = {name: mean(r["accuracy"] for r in runs) for name, runs in results.items()}
    single = accuracy.get("sample")
    reach = [r["pass_at_n"] for r in results.get("best of 16", ())]
    rows: list[dict[str, str]] = []
    for name, runs in results.items():
        values = [100 * r["accuracy"] for r in runs]
        items = runs[0]["items"]
        covered = "-"
        if single is not None and reach and name not in ("greedy", "sample"):
            covered = f"{100 * (accuracy[name] - single) / (mean(reach) - single):.0f} %"
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
    if reach:
        rows.append(
            {
                "setting": "pass@16",
                "accuracy": f"{100 * mean(reach):.1f} %",
                "range": f"{100 * min(reach):.1f}-{100 * max(reach):.1f}",
                **dict.fromkeys(("covered", "sampled", "scored", "s/item"), "-"),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
