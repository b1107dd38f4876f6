"""``reason-decode verify``: the first wrong step of given solutions, from step scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from reason_decode.cli.configs import FOLDS, VerifyConfig
from reason_decode.cli.output import json_output, path_of
from reason_decode.cli.prompts import with_suffix
from reason_decode.cli.settings import settings_of
from reason_decode.core.thinking import THINK
from reason_decode.evaluation.splits import (
    CalibrationSplit,
    k_fold_splits,
    other_data_split,
    share_split,
)
from reason_decode.evaluation.verify import (
    AnnotatedSolution,
    check_splits,
    evaluate_first_errors,
    score_batches,
    scored_part,
)
from reason_decode.io.console import interval, percent, printable, table
from reason_decode.io.read_report import ReadReport
from reason_decode.runs.batches import FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.workers import run_workers
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.training.data import read_labelled
from reason_decode.training.labelled import LabelledSolution

__all__ = ["run"]

# Options that do not change the scores (the batch size changes only their last bits).
IGNORED_IN_SETTINGS = (
    *("folds", "calibrate_on", "calibrate_share", "threshold", "maximise"),
    "batch_size",
)


def run(config: VerifyConfig, argv: Sequence[str]) -> int:
    """Score steps, predict first errors, compare with the labels; print and write the result."""
    inputs = filter(None, (config.input, config.calibrate_on))
    with json_output(config.output, *inputs) as write:
        found, report = _read(config.input, config.format, config.neutral)
        others, other_report = [], None
        if config.calibrate_on is not None:
            others, other_report = _read(config.calibrate_on, "auto", config.neutral)
        splits = _splits(config, [x.prompt for x in found], [x.prompt for x in others])
        solutions = [*found, *others]
        check_splits(solutions, splits, config.threshold)
        settings = settings_of(config, solutions, IGNORED_IN_SETTINGS)
        output = path_of(config.output)
        run = ResumableRun(output, settings, item_indices, len(solutions), config.run)
        if not run_workers(run, ["-m", "reason_decode", *argv]):
            return 0
        with run:
            scorer = scorer_from_options(config.scoring, whole_solutions=False)
            given = config.prompt_suffix
            suffix = scorer.prompt_suffix if given is None else given
            solutions = [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in solutions]
            thoughts = config.thoughts
            solutions = scored_part(solutions, thoughts.score_part, thoughts.tags or THINK)
            failed = _score(config, solutions, scorer, run)
            if config.run.shard != SINGLE_SHARD:
                print(run.progress_line())
                return 1 if failed else 0
            scores = _scores(run, len(solutions))
            result = evaluate_first_errors(
                solutions, scores, splits, threshold=config.threshold, maximise=config.maximise
            )
            result = _add_settings(config, suffix, result, report, other_report)
            result["failed"] = [{"id": solutions[x.index].id, "reason": x.reason} for x in failed]
            result["rows"] = result.pop("rows")  # last, since it is the longest
            write(result)
            if not failed:
                run.finish()
        _print(result)
        _print_left_out(config.input, report)
        if config.calibrate_on is not None and other_report is not None:
            _print_left_out(config.calibrate_on, other_report)
    return 1 if failed else 0


def _score(
    config: VerifyConfig, solutions: list[AnnotatedSolution], scorer: Any, run: ResumableRun
) -> list[FailedItem]:
    """Score the solutions that remain; print and return those that failed."""
    batches = score_batches(
        solutions,
        scorer,
        config.batch_size,
        done=run.done,
        shard=config.run.shard,
    )
    for _, result in batches:
        run.append(result)
    print_failures(batches, lambda index: f"solution {solutions[index].id}")
    return batches.failed


def _scores(run: ResumableRun, count: int) -> list[Any]:
    """The step scores of each solution; ``None`` for those that failed."""
    scores: list[Any] = [None] * count
    for result in run.rows():
        for index, row in zip(result["items"], result["scores"], strict=True):
            scores[index] = row
    return scores


def _add_settings(
    config: VerifyConfig,
    suffix: str,
    result: dict[str, Any],
    report: ReadReport,
    other: ReadReport | None,
) -> dict[str, Any]:
    """The result after the options and the counts of rows that it depends on."""
    given = asdict(config.scoring) | asdict(config.thoughts)
    names = ("input", "neutral", "calibrate_share", "calibrate_on", "maximise", "batch_size")
    given |= {name: getattr(config, name) for name in names}
    given |= {"folds": config.folds_or_none, "format": report.format, "prompt_suffix": suffix}
    given |= {**result, **_counts(report)}
    return given | ({"calibration_data": _counts(other)} if other else {})


def _print(result: dict[str, Any]) -> None:
    print(table([_row(result)]))
    print(
        f"not located: {result['early']} too early, {result['late']} too late, "
        f"{result['missed']} missed, {result['false_alarms']} false alarms; "
        f"thresholds {', '.join(f'{x:.4g}' for x in result['thresholds'])}"
    )
    if result["truncated"]:
        print(
            f"read only in part, because they exceed the model's context: {result['truncated']} "
            "solutions"
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
        first_error = solution.labels.index(-1) if -1 in solution.labels else None
        found.append(AnnotatedSolution(id, solution.prompt, solution.steps, first_error))
    if not found:
        raise ValueError(f"{path} has no solution with a known first error: {report}")
    return found, report


def _unusable(solution: LabelledSolution) -> str | None:
    """The reason why the first error of a solution is not known, if it is not."""
    wrong = -1 in solution.labels
    labels = solution.labels[: solution.labels.index(-1)] if wrong else solution.labels
    if not any(step.strip() for step in solution.steps):
        return "solution without steps"
    if all(label is None for label in solution.labels):
        return "solution without labels"
    if None in labels:
        return "solution with an unlabelled step and no error before it"
    return None


def _splits(config: VerifyConfig, tested: list[str], others: list[str]) -> list[CalibrationSplit]:
    """Splits of the solutions into those that calibrate a threshold and those that test it."""
    if config.threshold is not None:
        return [CalibrationSplit([], list(range(len(tested))))]
    if config.calibrate_on is not None:
        return other_data_split(tested, others)
    if config.calibrate_share is not None:
        return share_split(tested, config.calibrate_share)
    return k_fold_splits(tested, FOLDS if config.folds is None else config.folds)


def _counts(report: ReadReport) -> dict[str, Any]:
    return {
        "left_out": dict(report.left_out),
        "malformed": report.malformed,
        "rejected": [asdict(reject) for reject in report.rejected],
    }


def _row(result: dict[str, Any]) -> dict[str, Any]:
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
        "95 % interval": interval(result["exact_ci95"]),
    }


def _print_left_out(path: str, report: ReadReport) -> None:
    for reject in report.rejected:
        print(f"set aside: {path}, line {reject.row}: {printable(reject.reason)}")
    if (more := report.malformed - len(report.rejected)) > 0:
        print(f"set aside: {path}: {more} more malformed rows")
    for reason, count in report.left_out.items():
        print(f"set aside: {path}: {count} x {reason}")
