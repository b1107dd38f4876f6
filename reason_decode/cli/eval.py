"""``reason-decode eval``: the accuracy of a strategy on a public task."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import Any

from reason_decode.cli.load import load_model
from reason_decode.cli.options import OPTIONS, PLAIN, add_decoding, check_decoding, make_strategy
from reason_decode.cli.text import percent, table
from reason_decode.evaluation import TASKS, evaluate
from reason_decode.evaluation.files import check_writable, write_json, write_text

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "eval", help="measure a strategy on a task", description=__doc__
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
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Run the strategy over the rows, print a table, write the result."""
    check_decoding(args)
    if args.trace and args.strategy in PLAIN:
        raise ValueError(f"got --trace with {args.strategy}, which compares no candidates: drop it")
    for path in filter(None, (args.json, args.trace)):
        check_writable(path)
    task = TASKS[args.task]
    items, rejected = task.load(args.data, args.rows)
    model, tokenizer = load_model(args.model)
    strategy = make_strategy(args, tokenizer, task.distinct)
    result = evaluate(
        model,
        tokenizer,
        strategy,
        items[: args.limit],
        task,
        batch_size=args.batch_size,
        max_new_tokens=args.max_new_tokens,
        temperature=0.0 if args.strategy == "greedy" else args.temperature,
        seed=args.seed,
        trace=args.trace is not None,
    )
    rows = result.pop("rows")
    settings = {name: getattr(args, name) for name in ("model", "prm", *OPTIONS)}
    result |= settings | {"rejected": [asdict(reject) for reject in rejected]}
    if args.trace:
        lines = (json.dumps(row, allow_nan=False) for row in ({"run": result}, *rows))
        write_text(args.trace, "".join(f"{line}\n" for line in lines))
        rows = [{name: row[name] for name in ("id", "correct", "text")} for row in rows]
    result["rows"] = rows
    if args.json:
        write_json(args.json, result)
    print(table([_line(result)]))
    for reject in rejected:
        print(f"set aside: row {reject.row}: {reject.reason}")
    return 0


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
