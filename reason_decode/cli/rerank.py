"""``reason-decode rerank``: pick among solutions that any model wrote, and grade the picks."""

from argparse import ArgumentParser, Namespace
from typing import Any, get_args

from reason_decode.evaluation import rerank
from reason_decode.evaluation.rerank import read_samples
from reason_decode.io.console import percent, table
from reason_decode.io.jsonl import check_writable, write_json
from reason_decode.scorers.loading import load_verifier
from reason_decode.scorers.reduction import Reduce
from reason_decode.tasks import TASKS

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "rerank", help="pick among given solutions by their scores", description=__doc__
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="SAMPLES",
        help="JSON Lines, .gz or not: `puzzle` or `prompt`, `samples`, optionally `correct`",
    )
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument(
        "--scorer", default="tiny", help="process reward model: tiny, a folder or a Hub id"
    )
    parser.add_argument(
        "--reduce",
        choices=get_args(Reduce),
        default="prod",
        help="how step scores become one number (default: prod)",
    )
    parser.add_argument("--json", metavar="OUT", help="write the result here, each pick included")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Score, pick, grade; print a table, write the result."""
    if args.json:
        check_writable(args.json)
    problems, rejected = read_samples(args.input, TASKS[args.task])
    scorer = load_verifier(args.scorer)
    result = rerank(problems, scorer, reduce=args.reduce, rejected=rejected)
    result = {"task": args.task, "scorer": args.scorer, "reduce": args.reduce, **result}
    if args.json:
        write_json(args.json, result)
    print(
        f"{args.task}: {result['problems']} problems, {result['samples']} samples, "
        f"{result['problems_with_a_right_sample']} problems with a right one"
    )
    print(table([_single(result), *(_line(result, way) for way in ("best_of_n", "weighted_vote"))]))
    for reject in rejected:
        print(f"set aside: line {reject.row}: {reject.reason}")
    return 0


def _single(result: dict[str, Any]) -> dict[str, str]:
    share = percent(result["single_sample"])
    return {"pick": "one at random", "right": "-", "accuracy": share, "of the solvable": "-"}


def _line(result: dict[str, Any], way: str) -> dict[str, str]:
    graded = result[way]
    return {
        "pick": way.replace("_", " "),
        "right": str(graded["right"]),
        "accuracy": percent(graded["accuracy"]),
        "of the solvable": percent(graded["of_solvable"]),
    }
