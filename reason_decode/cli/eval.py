"""``reason-decode eval``: the accuracy of a strategy on a public task."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import Any

from reason_decode.cli.options import OPTIONS, PLAIN, add_decoding, check_decoding
from reason_decode.cli.run_options import (
    RESUME_EPILOG,
    add_run_options,
    command_of,
    make_run_options,
    settings_of,
)
from reason_decode.cli.served import add_served, check_served
from reason_decode.cli.solve import make_solve
from reason_decode.evaluation.runner import answered, summary
from reason_decode.io.console import percent, table
from reason_decode.io.jsonl import check_writable, write_json, write_text
from reason_decode.runs.batches import FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.workers import run_workers
from reason_decode.tasks import TASKS, Item, Task

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "eval", help="measure a strategy on a task", description=__doc__, epilog=RESUME_EPILOG
    )
    parser.add_argument("--data", required=True, help="the task's public file")
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument(
        "--rows",
        metavar="FIRST:LAST",
        help="ranks (game24) or places from 0 (bbh-arithmetic), LAST not included: 901:1001",
    )
    parser.add_argument("--limit", type=int, metavar="K", help="only the first K of these rows")
    parser.add_argument("--batch-size", type=int, default=8, help="prompts a batch (default: 8)")
    parser.add_argument(
        "--max-new-tokens", type=int, help="tokens a solution may have (default: the task's)"
    )
    parser.add_argument("--json", metavar="OUT", help="write the result here, texts included")
    parser.add_argument(
        "--trace",
        metavar="OUT",
        help="write every candidate and score here, JSON Lines for `reason-decode trace`",
    )
    add_decoding(parser, strategy=None)
    add_served(parser)
    add_run_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Run the strategy over the rows, print a table, write the result."""
    check_decoding(args)
    if args.trace and args.strategy in PLAIN:
        raise ValueError(f"got --trace with {args.strategy}, which compares no candidates: drop it")
    check_served(args)
    options = make_run_options(args)
    for path in filter(None, (args.json, args.trace)):
        check_writable(path)
    task = TASKS[args.task]
    items, rejected = task.load(args.data, args.rows)
    items = items[: args.limit]
    settings = {**settings_of(args, items, ["trace"]), "traced": args.trace is not None}
    kept = ResumableRun(args.json, settings, item_indices, len(items), options)
    if not run_workers(kept, command_of(args)):
        return 0
    with kept:
        aside: list[FailedItem] = _solve(args, task, items, kept) if kept.remains else []
        if options.shard != SINGLE_SHARD:
            print(kept.progress_line())
            return 1 if aside else 0
        named = {"strategy": args.strategy, "n": 1 if args.strategy in PLAIN else args.n}
        result = summary(items, kept.rows(), aside, task=task.name, seed=args.seed, **named)
        given = {name: getattr(args, name) for name in ("model", "prm", *OPTIONS)}
        result |= given | {"rejected": [asdict(reject) for reject in rejected]}
        _write(args, result)
        if not aside:
            kept.finish()
    print(table([_line(result)]))
    for reject in rejected:
        print(f"set aside: row {reject.row}: {reject.reason}")
    return 1 if aside else 0


def _write(args: Namespace, result: dict[str, Any]) -> None:
    """Write result and traces where they are asked for; the rows go last."""
    rows = result.pop("rows")
    if args.trace:
        lines = (json.dumps(row, allow_nan=False) for row in ({"run": result}, *rows))
        write_text(args.trace, "".join(f"{line}\n" for line in lines))
        rows = [{name: row[name] for name in ("id", "correct", "text")} for row in rows]
    if args.json:
        write_json(args.json, {**result, "rows": rows})


def _solve(args: Namespace, task: Task, items: list[Item], kept: ResumableRun) -> list[FailedItem]:
    """Do what is not done yet; the items that could not be done, which are printed."""
    budget = args.max_new_tokens or task.max_new_tokens
    solve = make_solve(args, budget, task.state_key)
    batches = answered(
        solve,
        items,
        task,
        args.batch_size,
        done=kept.done,
        shard=args.shard,
        trace=args.trace is not None,
        desc=args.strategy,
    )
    for _, line in batches:
        kept.append(line)
    print_failures(batches, lambda index: f"item {items[index].id}")
    return batches.failed


def _line(result: dict[str, Any]) -> dict[str, Any]:
    low, high = result["ci95"]
    generator = result["cost"]["generator"]
    return {
        "task": result["task"],
        "strategy": result["strategy"],
        "n": result["n"],
        "seed": result["seed"],
        "items": result["items"],
        "correct": result["correct"],
        "accuracy": percent(result["accuracy"]),
        "95 % interval": f"{100 * low:.1f}-{100 * high:.1f}",
        "pass@n": percent(result.get("pass_at_n")),
        "sampled": generator["sampled"],
        "scored": result["cost"]["scorer"]["read"],
        "seconds": f"{result['seconds']:.1f}",
    }
