"""Labelled solutions from files in any of the published formats, read row by row."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reason_decode.core.splitting import StepSplitter
from reason_decode.io.fields import Row
from reason_decode.io.read_report import ReadReport
from reason_decode.io.tables import stream_table
from reason_decode.training.columns import NO_COLUMNS, SolutionColumns, solutions_of_row
from reason_decode.training.dataset_formats import (
    bigbench_mistake,
    math_shepherd,
    plain,
    processbench,
    samples,
    stepwise,
)
from reason_decode.training.labelled import (
    LabelledSolution,
    Neutral,
    dedupe_shared_steps,
    resolve_neutral,
)
from reason_decode.training.labelled import until_first_error as labels_until_first_error
from reason_decode.training.prm800k import CHECKS, LeftOut, prm800k
from reason_decode.training.step_labels import THRESHOLD

__all__ = ["COLUMNS", "DATASET_FORMATS", "DatasetFormat", "detect_format", "read_labelled"]


def _any_row(row: Row) -> bool:
    return True


class DatasetFormat(NamedTuple):
    """A published format of the rows of a data set.

    Attributes:
        keys: keys that every row has, by which the format is detected.
        read: row -> its solutions; raises ``ValueError`` if the row is malformed.
        fits: false for a row with these keys that is of another format.

    Examples:
        >>> DATASET_FORMATS["stepwise"].keys
        ('prompt', 'completions', 'labels')
    """

    keys: tuple[str, ...]
    read: Callable[..., Sequence[LabelledSolution | LeftOut]]
    fits: Callable[[Row], bool] = _any_row


def _has_no_verdict(row: Row) -> bool:
    """True for a row whose verdicts, if any, ``plain`` and ``samples`` read."""
    found = {name for name in ("labels", "label", "is_correct") if name in row}
    return not found and isinstance(row.get("correct"), bool | None) and "messages" not in row


DATASET_FORMATS = {
    "prm800k": DatasetFormat(
        ("question", "label"), prm800k, lambda row: isinstance(row["question"], dict)
    ),
    "stepwise": DatasetFormat(
        ("prompt", "completions", "labels"),
        stepwise,
        lambda row: isinstance(row["prompt"], str) and not isinstance(row["completions"], str),
    ),
    "math-shepherd": DatasetFormat(
        ("input", "label"), math_shepherd, lambda row: isinstance(row["label"], str)
    ),
    "processbench": DatasetFormat(
        ("problem", "steps", "label"),
        processbench,
        lambda row: not isinstance(row["label"], list | str),
    ),
    "bigbench-mistake": DatasetFormat(
        ("input", "steps", "target", "mistake_index"), bigbench_mistake
    ),
    "plain": DatasetFormat(
        ("prompt", "solution"),
        plain,
        lambda row: _has_no_verdict(row) and not isinstance(row["prompt"], list),
    ),
    "samples": DatasetFormat(("prompt", "samples"), samples, _has_no_verdict),
    "math-samples": DatasetFormat(("question", "generated_answer", "answer"), samples),
}
COLUMNS = "columns"
"""The format of all other rows, whose columns are found by their names: ``solutions_of_row``."""


def detect_format(row: Row) -> str:
    """The name of the first published format whose keys a row has, else ``columns``.

    Args:
        row: a row of a file.

    Raises:
        ValueError: the row has the keys of no known format, and no columns of a usual name.

    Examples:
        >>> detect_format({"id": "7", "prompt": "1 + 2 =", "solution": "3", "answer": "3"})
        'plain'
        >>> detect_format({"problem": "1 + 2 =", "solution": "3", "answer": 3})
        'columns'
    """
    for name, known in DATASET_FORMATS.items():
        if all(key in row for key in known.keys) and known.fits(row):
            return name
    try:
        solutions_of_row(row)
    except ValueError as error:
        keys = "; ".join(f"{name}: {', '.join(x.keys)}" for name, x in DATASET_FORMATS.items())
        raise ValueError(
            f"got the keys {', '.join(map(repr, row))[:200] or '(none)'}; known formats are {keys}"
            f"; and {COLUMNS}: {error}"
        ) from error
    return COLUMNS


def read_labelled(
    path: str | Path,
    format: str = "auto",
    *,
    neutral: Neutral = "positive",
    until_first_error: bool = True,
    repeat: bool = False,
    include: Collection[str] = (),
    separator: str = "\n",
    columns: SolutionColumns = NO_COLUMNS,
    label_threshold: float = THRESHOLD,
    report: ReadReport | None = None,
) -> Iterator[LabelledSolution]:
    r"""Read the labelled solutions of a table, in order, with one row in memory at a time.

    Malformed rows are set aside and counted in the report; if there are any, a warning is logged at
    the end of the file.

    Args:
        path: a file (JSON Lines, JSON, CSV, TSV or Parquet, by the end of its name) or the id of a
            dataset on the Hub; see ``io.tables.stream_table``.
        format: name of the format, one of ``DATASET_FORMATS`` or ``"columns"``; ``"auto"`` detects
            it at the first well-formed row.
        neutral: label of neutral steps: ``"positive"``, ``"negative"``, or ``"keep"`` for a class
            of their own; applied before ``until_first_error``.
        until_first_error: drop the labels after the first wrong step.
        repeat: keep the label of a step in every solution of a row that has the step, as for a
            benchmark; by default only in the first, as for training.
        include: kinds of PRM800K rows to read although they are usually left out: names of
            ``prm800k.CHECKS``.
        separator: text that ends a step of a solution that is one text.
        columns: columns of rows in no published format, and the part of a Hub dataset.
        label_threshold: probability above which a step with a soft label is right.
        report: counts of the rows, filled while the file is read; a new one for each file.

    Raises:
        ValueError: an argument is not allowed; on the first row: the file is not what its name
            says; at the end of the file: it had no solution.
        OSError: on the first row: the file cannot be read.
        ImportError: on the first row: the package that reads it is not installed.

    Examples:
        >>> import tempfile
        >>> from reason_decode.io.read_report import ReadReport
        >>> report = ReadReport()
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"prompt": "1 + 2 =", "completions": ["3"], "labels": [true]}', file=file)
        ...     file.flush()
        ...     [solution.labels for solution in read_labelled(file.name, report=report)]
        [(1,)]
        >>> print(report)
        1 rows (stepwise): 1 items
    """
    _check_arguments(format, include, columns, label_threshold)
    # Raise for a wrong argument now, not on the first row.
    resolve_neutral((), neutral)
    StepSplitter(separator)
    format = COLUMNS if columns.named else format
    readers = _readers(separator, frozenset(include), columns, label_threshold)
    name = Path(path).name

    def relabel(solution: LabelledSolution, number: int) -> LabelledSolution:
        labels = resolve_neutral(solution.labels, neutral)
        if until_first_error:
            labels = labels_until_first_error(labels)
        return replace(solution, labels=labels, source=solution.source or f"{name}:{number}")

    def read(report: ReadReport) -> Iterator[LabelledSolution]:
        report.format = None if format == "auto" else format
        rows = stream_table(path, subset=columns.subset, split=columns.split)
        for number, fields in report.rows_of(rows):
            try:
                row_format = report.format or detect_format(fields)
                found = readers[row_format](fields)
            except (ValueError, RecursionError) as error:
                report.reject(number, str(error))
                continue
            report.format = row_format
            before = [item for item in found if isinstance(item, LabelledSolution)]
            report.left_out.update(item.reason for item in found if isinstance(item, LeftOut))
            if soft := sum(1 for item in before if item.soft):
                report.notes[f"with soft labels, right above {label_threshold:g}"] += soft
            after = [relabel(item, number) for item in before]
            after = after if repeat else dedupe_shared_steps(after)
            for old, new in zip(before, after, strict=True):
                if _has_label(old) and not _has_label(new):
                    report.left_out["solution without a label of its own"] += 1
                else:
                    report.items += 1
                    yield new
        if not report.items:
            raise ValueError(f"{path} has no usable row: {report}")
        if report.malformed:
            logging.getLogger(__name__).warning("%s: %s", path, report)

    return read(ReadReport() if report is None else report)


def _check_arguments(
    format: str, include: Collection[str], columns: SolutionColumns, label_threshold: float
) -> None:
    if format not in ("auto", COLUMNS, *DATASET_FORMATS):
        allowed = ", ".join([*DATASET_FORMATS, COLUMNS])
        raise ValueError(f"got format={format!r}; allowed are 'auto', {allowed}")
    if columns.named and format not in ("auto", COLUMNS):
        raise ValueError(
            f"got the names of columns for the format {format!r}, which has names of its own; "
            "leave one of them out"
        )
    if not 0 <= label_threshold < 1:
        raise ValueError(f"got label_threshold={label_threshold}; need at least 0 and less than 1")
    if isinstance(include, str) or not set(include) <= set(CHECKS):
        raise ValueError(f"got include={include!r}; allowed is a list of {', '.join(CHECKS)}")


def _readers(
    separator: str, include: frozenset[str], columns: SolutionColumns, threshold: float
) -> dict[str, Any]:
    """The function that reads a row, by format."""
    return {name: known.read for name, known in DATASET_FORMATS.items()} | {
        "prm800k": partial(prm800k, include=include),
        "plain": partial(plain, separator=separator),
        "samples": partial(samples, separator=separator),
        "math-samples": partial(samples, separator=separator),
        "stepwise": partial(stepwise, threshold=threshold),
        COLUMNS: partial(
            solutions_of_row, columns=columns, separator=separator, threshold=threshold
        ),
    }


def _has_label(solution: LabelledSolution) -> bool:
    return any(label is not None for label in solution.labels)
