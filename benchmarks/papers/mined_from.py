r"""Guidance by rationale models whose rationales come from other sources, filtered or not.

    python -m examples.tiny.train_rationalyst --out runs/rationalyst
    python -m benchmarks.papers.filter_gsm8k train --input ../shared/data/gsm8k --model runs/gsm8k
    python -m benchmarks.papers.mined_from --run runs/rationalyst --loss-model runs/gsm8k \
        --gsm8k ../shared/data/gsm8k --input ../shared/data/game24/24.csv --rows 901:1001 \
        --output runs/mined_from

This is the paper's data ablation at a small size. Four rationale models start from the same reader
and learn equally many rationales in equally many steps. The rationales come from documents of the
task only, or one in three from general text: GSM8K's sub-questions, three in ten of them of another
problem, which is also the share of wrong rationales of the task. They are filtered by their loss
delta, or taken as drawn; the reader computes the deltas of the task's rationales, ``--loss-model``
those of general text. Each model then guides the packaged generator implicitly, and a random pick
among equally many candidates is in the table for comparison. Trained models are reused.

Checked first: each filter raises the share of right rationales.
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

from benchmarks.papers.gsm8k_problems import foreign_questions, read_problems, to_document
from benchmarks.papers.rationales import RandomScorer
from examples.tiny.rationale_mining import read_documents, to_row, to_rows
from reason_decode import RationaleGuided, RationaleScorer, StepSearch, tiny
from reason_decode.evaluation import evaluate
from reason_decode.io.console import table
from reason_decode.mining import calibrate_threshold, score_rationales
from reason_decode.tasks import TASKS
from reason_decode.training import RationaleRow, RationalystConfig, read_rationales, train_rationalyst

# Share of general text in the mixed sets.
GENERAL = 1 / 3
# Share of right rationales of general text as drawn, and the least share as filtered.
_RIGHT, _PRECISION = 0.7, 0.9


def main(argv: Sequence[str] | None = None) -> int:
    """Train the models that are missing, guide with each, print the table."""
    args = _arguments(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    reader = args.run / "reader"
    tokenizer = AutoTokenizer.from_pretrained(reader)
    sets = _training_sets(args)
    least = min(args.rationales, *(len(rows) for rows in sets.values()))
    task = TASKS[args.task]
    items = task.load(args.input, args.rows)[0][: args.limit]
    lines = []
    for name, rows in sets.items():
        model = args.output / name.replace(", ", "-").replace(" ", "_")
        if not (model / "config.json").exists():
            config = RationalystConfig(
                loss_on="both",
                batch_size=16,
                gradient_accumulation_steps=4,
                learning_rate=1e-3,
                bf16=True,
                num_train_epochs=args.epochs,
            )
            chosen = random.Random(0).sample(rows, least)
            train_rationalyst(reader, tokenizer, chosen, model, config)
        tokens = tiny.load().rationalyst.writer.max_new_tokens
        scorer = RationaleScorer.from_pretrained(model, max_new_tokens=tokens)
        guided = RationaleGuided(scorer, tokenizer=tiny.load().tokenizer, n=args.n)
        lines.append(_measure(f"{name} ({least})", lambda _, x=guided: x, items, task, args))
    lines.append(_measure("random pick", lambda seed: _random(seed, args.n), items, task, args))
    print(table(lines))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--run", type=Path, required=True, help="the --out of examples.tiny.train_rationalyst"
    )
    parser.add_argument(
        "--loss-model", type=Path, required=True, help="the model that filter_gsm8k trained"
    )
    parser.add_argument("--gsm8k", type=Path, required=True, help="the folder of GSM8K")
    parser.add_argument("--output", type=Path, required=True, help="folder of the four models")
    parser.add_argument("--task", choices=TASKS, default="game24", help="(default: game24)")
    parser.add_argument("--input", required=True, help="the task's file")
    parser.add_argument("--rows", help="FIRST:LAST of the file (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many items")
    parser.add_argument(
        "--rationales", type=int, default=6000, help="rationales of each set (default: 6000)"
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="(default: 1)")
    parser.add_argument("--n", type=int, default=3, help="candidates of a step (default: 3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a model (default: 3)")
    parser.add_argument("--batch-size", type=int, default=50, help="prompts a batch (default: 50)")
    return parser.parse_args(argv)


def _training_sets(args: argparse.Namespace) -> dict[str, list[RationaleRow]]:
    """The four training sets, before they are cut to equal sizes."""
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
    raw, filtered = _general_text(args.gsm8k / "test_socratic.jsonl", args.loss_model)
    every = to_rows(documents)
    return {
        "task text, filtered": kept,
        "task text, as drawn": every,
        "with general text, filtered": _mix(kept, filtered),
        "with general text, as drawn": _mix(every, raw),
    }


def _mix(task: Sequence[RationaleRow], general: Sequence[RationaleRow]) -> list[RationaleRow]:
    """As many rows of both as give one row of general text in three."""
    count = min(len(general), int(len(task) * GENERAL / (1 - GENERAL)))
    fewer = int(count * (1 - GENERAL) / GENERAL)
    return [*random.Random(1).sample(task, fewer), *random.Random(1).sample(general, count)]


def _check_filter(name: str, drawn: Collection[bool], kept: Collection[bool]) -> None:
    """Print the shares of right rationales; raise unless the filter raised it."""
    before, after = mean(drawn), mean(kept or [False])
    if not after > before:
        raise AssertionError(f"{name}: {after:.3f} right as kept, {before:.3f} as drawn")
    print(
        f"{name}: of {len(drawn)} drawn {100 * before:.1f} % right, "
        f"of {len(kept)} kept {100 * after:.1f} %"
    )


def _general_text(path: Path, loss_model: Path) -> tuple[list[RationaleRow], list[RationaleRow]]:
    """GSM8K's sub-questions, some of other problems: all, and those that the filter keeps."""
    whole = [x for x in read_problems(path) if len(x.sub_questions) == len(x.steps) - 1]
    rng = random.Random(0)
    drawn, own = [], dict[str, bool]()
    for k, problem in enumerate(whole):
        own[str(k)] = rng.random() < _RIGHT
        questions = problem.sub_questions if own[str(k)] else foreign_questions(whole, k, rng)
        drawn.append(to_document(k, problem, questions))
    model = AutoModelForCausalLM.from_pretrained(loss_model).eval()
    tokenizer = AutoTokenizer.from_pretrained(loss_model)
    scored = list(
        score_rationales(
            drawn, model, tokenizer, min_loss_delta=float("-inf"), discount=1.0, batch_size=16
        )
    )
    calibrating = [x for x in scored if x.delta is not None and int(x.document.id) % 3 == 0]
    found = calibrate_threshold(
        [x.delta or 0.0 for x in calibrating],
        [own[x.document.id] for x in calibrating],
        precision=_PRECISION,
    )
    rows = [to_row(x) for x in scored]
    kept = [row for row in rows if row.delta is not None and row.delta >= found.threshold]
    _check_filter("general text", [own[row.id] for row in rows], [own[row.id] for row in kept])
    return rows, kept


def _random(seed: int, n: int) -> StepSearch:
    random_scorer = RandomScorer(seed)
    return StepSearch(random_scorer, tokenizer=tiny.load().tokenizer, n=n)


def _measure(
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
        with (args.output / "results.jsonl").open("a") as file:
            row = {"name": name, "seed": seed, "accuracy": result["accuracy"]}
            file.write(json.dumps(row) + "\n")
    return {
        "mined from": name,
        "accuracy": f"{mean(values):.1f} %",
        "range": f"{min(values):.1f}-{max(values):.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
