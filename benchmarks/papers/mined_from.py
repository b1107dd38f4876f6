"""What rationales are mined from, and whether they are filtered: the paper's data ablation, small.

    python -m examples.tiny.train_rationalyst --out runs/rationalyst
    python -m benchmarks.papers.filter_gsm8k train --data ../shared/data/gsm8k --out runs/gsm8k
    python -m benchmarks.papers.mined_from --run runs/rationalyst --judge runs/gsm8k \
        --gsm8k ../shared/data/gsm8k --data ../shared/data/game24/24.csv --rows 901:1001 \
        --out runs/mined_from

Four rationale models from the same reader, each with the same number of rationales and the same
steps of training: from documents of the task alone, or one in three from general text (GSM8K's
sub-questions, three in ten of them of another problem, as of the task's rationales); filtered by
the delta that they lower the loss by, or as they were drawn. What is of the task the reader has
judged, what is not a model of such text. Each then guides the packaged generator implicitly. A
random pick among the same candidates is beside them. Models that are done are not trained again.

Checked first: the filters let a larger share of right rationales through than were drawn.
"""

import argparse
import json
import random
import sys
from collections.abc import Collection, Sequence
from itertools import chain, islice
from pathlib import Path
from statistics import mean
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.papers.filter_gsm8k import marked, read, strangers
from benchmarks.papers.rationales import RandomScorer
from examples.tiny.rationale_mining import read_documents, to_row, to_rows
from reason_decode import RationaleGuided, RationaleScorer, StepSearch, tiny
from reason_decode.evaluation import evaluate
from reason_decode.io.console import table
from reason_decode.mining import calibrate_threshold, score_rationales
from reason_decode.tasks import TASKS
from reason_decode.training import RationaleRow, TrainingConfig, read_rationales, train_rationalyst

GENERAL = 1 / 3
# Of general text's rationales those that are right, as drawn and, at least, as kept.
_OWN, _PRECISION = 0.7, 0.9


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not trained yet, guide with each, print the table."""
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    reader = args.run / "reader"
    words = AutoTokenizer.from_pretrained(reader)
    sets = _sets(args)
    least = min(args.rationales, *(len(rows) for rows in sets.values()))
    task = TASKS[args.task]
    items = task.load(args.data, args.rows)[0][: args.limit]
    lines = []
    for name, rows in sets.items():
        model = args.out / name.replace(", ", "-").replace(" ", "_")
        if not (model / "config.json").exists():
            recipe = TrainingConfig(
                batch=16, accumulate=4, learning_rate=1e-3, bfloat16=True, epochs=args.epochs
            )
            chosen = random.Random(0).sample(rows, least)
            train_rationalyst(reader, words, chosen, model, learn="both", recipe=recipe)
        tokens = tiny.load().rationalyst.writer.how.max_new_tokens
        scorer = RationaleScorer.from_pretrained(model, max_new_tokens=tokens)
        guided = RationaleGuided(scorer, tokenizer=tiny.load().tokenizer, n=args.n)
        lines.append(_measured(f"{name} ({least})", lambda _, x=guided: x, items, task, args))
    lines.append(_measured("random pick", lambda seed: _random(seed, args.n), items, task, args))
    print(table(lines))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="train_rationalyst's folder")
    parser.add_argument(
        "--judge", type=Path, required=True, help="the model that filter_gsm8k.py trained"
    )
    parser.add_argument("--gsm8k", type=Path, required=True, help="the folder of GSM8K")
    parser.add_argument("--out", type=Path, required=True, help="the four models go here")
    parser.add_argument("--task", choices=TASKS, default="game24")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rationales", type=int, default=6000, help="of each set (default: 6000)")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--n", type=int, default=3, help="candidates a step")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    return parser.parse_args(argv)


def _sets(args: argparse.Namespace) -> dict[str, list[RationaleRow]]:
    """The four training sets, larger than they need be."""
    shards = sorted((args.run / "mined").glob("*.jsonl"))
    drawn = chain.from_iterable(read_documents(args.run / "drawn" / x.name) for x in shards)
    documents = list(islice(drawn, args.rationales))
    names = {x.document.id for x in documents}
    kept = [x for shard in shards for x in read_rationales(shard) if x.id in names]
    right = {
        (x.document.id, rationale): good
        for x in documents
        for rationale, good in zip(x.document.rationales, x.right, strict=True)
    }
    _check_filter("task text", right.values(), [right[row.id, row.rationale] for row in kept])
    raw, filtered = _general(args.gsm8k / "test_socratic.jsonl", args.judge)
    every = to_rows(documents)
    return {
        "task text, filtered": kept,
        "task text, as drawn": every,
        "with general text, filtered": _mixed(kept, filtered),
        "with general text, as drawn": _mixed(every, raw),
    }


def _mixed(task: Sequence[RationaleRow], general: Sequence[RationaleRow]) -> list[RationaleRow]:
    """One in three of the second, as far as there are."""
    count = min(len(general), int(len(task) * GENERAL / (1 - GENERAL)))
    fewer = int(count * (1 - GENERAL) / GENERAL)
    return [*random.Random(1).sample(task, fewer), *random.Random(1).sample(general, count)]


def _check_filter(name: str, drawn: Collection[bool], kept: Collection[bool]) -> None:
    """Print which shares are right; raise unless a filter's is the larger."""
    before, after = mean(drawn), mean(kept or [False])
    if not after > before:
        raise AssertionError(f"{name}: {after:.3f} right as kept, {before:.3f} as drawn")
    print(
        f"{name}: of {len(drawn)} drawn {100 * before:.1f} % right, "
        f"of {len(kept)} kept {100 * after:.1f} %"
    )


def _general(path: Path, judge_at: Path) -> tuple[list[RationaleRow], list[RationaleRow]]:
    """GSM8K's sub-questions, some of them strangers: all, and those that the filter keeps."""
    whole = [x for x in read(path) if len(x.asked) == len(x.steps) - 1]
    rng = random.Random(0)
    drawn, own = [], dict[str, bool]()
    for k, problem in enumerate(whole):
        own[str(k)] = rng.random() < _OWN
        asked = problem.asked if own[str(k)] else strangers(whole, k, rng)
        drawn.append(marked(k, problem, asked))
    model = AutoModelForCausalLM.from_pretrained(judge_at).eval()
    words = AutoTokenizer.from_pretrained(judge_at)
    judged = list(
        score_rationales(
            drawn, model, words, min_loss_delta=float("-inf"), discount=1.0, batch_size=16
        )
    )
    labelled = [x for x in judged if x.delta is not None and int(x.document.id) % 3 == 0]
    found = calibrate_threshold(
        [x.delta or 0.0 for x in labelled],
        [own[x.document.id] for x in labelled],
        precision=_PRECISION,
    )
    rows = [to_row(x) for x in judged]
    kept = [row for row in rows if row.delta is not None and row.delta >= found.threshold]
    _check_filter("general text", [own[row.id] for row in rows], [own[row.id] for row in kept])
    return rows, kept


def _random(seed: int, n: int) -> StepSearch:
    random_scorer = RandomScorer(seed)
    return StepSearch(random_scorer, tokenizer=tiny.load().tokenizer, n=n)


def _measured(
    name: str, strategy: Any, items: Sequence[Any], task: Any, args: argparse.Namespace
) -> dict[str, str]:
    """Accuracy over the seeds."""
    models = tiny.load()
    values = []
    for seed in range(args.seeds):
        result = evaluate(
            models.model,
            models.tokenizer,
            strategy(seed),
            items,
            task,
            batch_size=args.batch_size,
            temperature=1.0,
            seed=seed,
        )
        values.append(100 * result["accuracy"])
        with (args.out / "results.jsonl").open("a") as file:
            row = {"name": name, "seed": seed, "accuracy": result["accuracy"]}
            file.write(json.dumps(row) + "\n")
    return {
        "mined from": name,
        "accuracy": f"{mean(values):.1f} %",
        "range": f"{min(values):.1f}-{max(values):.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
