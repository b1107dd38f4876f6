"""``reason-decode verify``: where solutions first go wrong, by a scorer of their steps."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import asdict, replace
from typing import Any, get_args

from reason_decode.cli.prompts import add_suffix, with_suffix
from reason_decode.cli.rationales import OPTIONS, add_rationales, make_rationalyst
from reason_decode.cli.run_options import (
    RESUME_EPILOG,
    add_run_options,
    command_of,
    make_run_options,
    settings_of,
)
from reason_decode.evaluation.first_error import Maximise
from reason_decode.evaluation.splits import Part, folds, held_out, share
from reason_decode.evaluation.verify import AnnotatedSolution, check_parts, located, scored
from reason_decode.io.console import percent, printable, table
from reason_decode.io.jsonl import ReadReport, check_writable, write_json
from reason_decode.runs.batches import FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.workers import run_workers
from reason_decode.scorers.loading import load_scorer
from reason_decode.training.data import read_labelled
from reason_decode.training.labelled import LabelledSolution

__all__ = ["add", "run"]

FORMATS = ("auto", "bigbench-mistake", "processbench", "prm800k", "stepwise", "math-shepherd")
FOLDS = 5
SCORERS = ("prm", "rationale")
# What is done with scores, but does not change them (a batch's size does in the last bits only).
IGNORED_IN_SETTINGS = (
    "folds",
    "calibrate",
    "calibrate_share",
    "threshold",
    "maximise",
    "batch_size",
)


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "verify",
        help="find the first wrong step of given solutions",
        description=__doc__,
        epilog=RESUME_EPILOG,
    )
    parser.add_argument(
        "--scorer",
        choices=SCORERS,
        default="prm",
        help="prm: P(right) of each step; rationale: its log-likelihood given a rationale that was "
        "written for what comes before it (default: prm)",
    )
    parser.add_argument(
        "--prm",
        default="tiny",
        help="process reward model: tiny, a folder, a Hub id, or URL#MODEL of a server",
    )
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="labelled solutions, JSON Lines, .gz or not"
    )
    add_rationales(parser)
    parser.add_argument("--format", choices=FORMATS, default="auto", help="default: auto")
    parser.add_argument(
        "--neutral",
        choices=("positive", "negative"),
        default="positive",
        help="what PRM800K's rating 0 counts as (default: positive)",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="test each solution by the threshold that is best on the prompts of the other folds "
        f"(the default, with {FOLDS})",
    )
    ways.add_argument(
        "--calibrate-share",
        type=float,
        metavar="SHARE",
        help="calibrate on this share of the prompts, test on the rest",
    )
    ways.add_argument("--calibrate", metavar="FILE", help="calibrate on this file of any format")
    ways.add_argument("--threshold", type=float, metavar="T", help="calibrate nothing")
    parser.add_argument(
        "--maximise",
        choices=get_args(Maximise),
        default="f1",
        help="what the threshold is calibrated for: f1, or the share located exactly (default: f1)",
    )
    add_suffix(parser)
    parser.add_argument("--batch-size", type=int, default=32, help="solutions a batch (default 32)")
    parser.add_argument("--json", metavar="OUT", help="write the result here, step scores included")
    add_run_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Score steps, predict first errors, measure; print a table, write the result."""
    options = make_run_options(args)
    if args.json:
        check_writable(args.json)
    if args.batch_size < 1:
        raise ValueError(f"got --batch-size {args.batch_size}; need at least 1")
    if args.threshold is args.calibrate is args.calibrate_share is args.folds is None:
        args.folds = FOLDS
    found, report = _read(args.data, args.format, args.neutral)
    others, other_report = (
        _read(args.calibrate, "auto", args.neutral) if args.calibrate else ([], None)
    )
    parts = _parts(args, [x.prompt for x in found], [x.prompt for x in others])
    check_parts([*found, *others], parts, args.threshold)
    solutions, count = [*found, *others], len(found) + len(others)
    settings = settings_of(args, solutions, IGNORED_IN_SETTINGS)
    kept = ResumableRun(args.json, settings, item_indices, count, options)
    if not run_workers(kept, command_of(args)):
        return 0
    with kept:
        scorer = load_scorer(args.prm) if args.scorer == "prm" else make_rationalyst(args)
        suffix = scorer.prompt_suffix if args.prompt_suffix is None else args.prompt_suffix
        solutions = [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in solutions]
        aside = _score(args, solutions, scorer, kept)
        if options.shard != SINGLE_SHARD:
            print(kept.progress_line())
            return 1 if aside else 0
        scores: list[Any] = [None] * count
        for line in kept.rows():
            for place, row in zip(line["items"], line["scores"], strict=True):
                scores[place] = row
        result = located(solutions, scores, parts, threshold=args.threshold, maximise=args.maximise)
        result = _with_settings(args, suffix, result, report, other_report)
        result["not_scored"] = [{"id": solutions[x.index].id, "reason": x.reason} for x in aside]
        result["rows"] = result.pop("rows")  # the last, for the reader's sake
        if args.json:
            write_json(args.json, result)
        if not aside:
            kept.finish()
    _print(result)
    for name, said in ((args.data, report), (args.calibrate, other_report)):
        if said:
            _print_set_aside(name, said)
    return 1 if aside else 0


def _score(
    args: Namespace, solutions: list[AnnotatedSolution], scorer: Any, kept: ResumableRun
) -> list[FailedItem]:
    """Score what is not scored yet; the solutions that could not be, which are printed."""
    batches = scored(
        solutions,
        scorer,
        args.batch_size,
        scorer.max_steps,
        done=kept.done,
        shard=args.shard,
    )
    for _, line in batches:
        kept.append(line)
    print_failures(batches, lambda index: f"solution {solutions[index].id}")
    return batches.failed


def _with_settings(
    args: Namespace,
    suffix: str,
    result: dict[str, Any],
    report: ReadReport,
    other: ReadReport | None,
) -> dict[str, Any]:
    used = ("prm",) if args.scorer == "prm" else OPTIONS
    names = ("scorer", *used, "data", "neutral", *("folds", "calibrate", "calibrate_share"))
    told = {name: getattr(args, name) for name in (*names, "maximise", "batch_size")}
    told |= {"format": report.format, "prompt_suffix": suffix}
    told |= {**result, **_said(report)}
    return told | ({"calibration_data": _said(other)} if other else {})


def _print(result: dict[str, Any]) -> None:
    print(table([_line(result)]))
    print(
        f"not located: {result['early']} too early, {result['late']} too late, "
        f"{result['missed']} missed, {result['false_alarms']} false alarms; "
        f"thresholds {', '.join(f'{x:.4g}' for x in result['thresholds'])}"
    )
    if result["cut"]:
        print(
            f"not read to the end, for they are too long for the model: {result['cut']} solutions"
        )


def _read(path: str, format: str, neutral: Any) -> tuple[list[AnnotatedSolution], ReadReport]:
    """The solutions whose first wrong step is known; the report counts the others by reason."""
    report = ReadReport()
    found: list[AnnotatedSolution] = []
    ids: Counter[str] = Counter()
    for solution in read_labelled(path, format, neutral=neutral, repeat=True, report=report):
        if why := _unusable(solution):
            report.left_out[why] += 1
            continue
        ids[solution.source] += 1
        count = ids[solution.source]
        id = solution.source if count == 1 else f"{solution.source}#{count}"
        wrong = solution.labels.index(-1) if -1 in solution.labels else None
        found.append(AnnotatedSolution(id, solution.prompt, solution.steps, wrong))
    if not found:
        raise ValueError(f"{path} has no solution with a known first error: {report}")
    return found, report


def _unusable(solution: LabelledSolution) -> str | None:
    wrong = -1 in solution.labels
    judged = solution.labels[: solution.labels.index(-1)] if wrong else solution.labels
    if not any(step.strip() for step in solution.steps):
        return "solution without steps"
    if all(label is None for label in solution.labels):
        return "solution without labels"
    if None in judged:
        return "solution with an unlabelled step and no error before it"
    return None


def _parts(args: Namespace, tested: list[str], others: list[str]) -> list[Part]:
    if args.threshold is not None:
        return [Part([], list(range(len(tested))))]
    if args.calibrate is not None:
        return held_out(tested, others)
    if args.calibrate_share is not None:
        return share(tested, args.calibrate_share)
    return folds(tested, args.folds)


def _said(report: ReadReport) -> dict[str, Any]:
    return {
        "set_aside": dict(report.left_out),
        "malformed": report.malformed,
        "rejected": [asdict(reject) for reject in report.rejected],
    }


def _line(result: dict[str, Any]) -> dict[str, Any]:
    low, high = result["exact_ci95"]
    f1 = result["f1"]
    return {
        "format": result["format"],
        "solutions": result["solutions"],
        "erroneous": result["erroneous"],
        "located": percent(result["accuracy_erroneous"]),
        "correct": result["correct"],
        "passed": percent(result["accuracy_correct"]),
        "F1": "-" if f1 is None else f"{100 * f1:.1f}",
        "exact": percent(result["exact"]),
        "95 % interval": f"{100 * low:.1f}-{100 * high:.1f}",
    }


def _print_set_aside(path: str, report: ReadReport) -> None:
    for reject in report.rejected:
        print(f"set aside: {path}, line {reject.row}: {printable(reject.reason)}")
    if (more := report.malformed - len(report.rejected)) > 0:
        print(f"set aside: {path}: {more} more malformed rows")
    for reason, count in report.left_out.items():
        print(f"set aside: {path}: {count} x {reason}")
