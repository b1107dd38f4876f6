"""Labelled solutions from files in any of the published formats, read row by row."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reason_decode.core.solutions import StepSplitter
from reason_decode.io.fields import Row
from reason_decode.io.jsonl import ReadReport
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

__all__ = ["DATASET_FORMATS", "DatasetFormat", "detect_format", "read_labelled"]


class DatasetFormat(NamedTuple):
    """A published format of the rows of a data set.

    Attributes:
        keys: keys that every row has, by which the format is detected.
        read: row -> its solutions; raises ``ValueError`` if the row is malformed.

    Examples:
        >>> DATASET_FORMATS["stepwise"].keys
        ('prompt', 'completions', 'labels')
    """

    keys: tuple[str, ...]
    read: Callable[..., Sequence[LabelledSolution | LeftOut]]


DATASET_FORMATS = {
    "prm800k": DatasetFormat(("question", "label"), prm800k),
    "stepwise": DatasetFormat(("prompt", "completions", "labels"), stepwise),
    "math-shepherd": DatasetFormat(("input", "label"), math_shepherd),
    "processbench": DatasetFormat(("problem", "steps", "label"), processbench),
    "bigbench-mistake": DatasetFormat(
        ("input", "steps", "target", "mistake_index"), bigbench_mistake
    ),
    "plain": DatasetFormat(("prompt", "solution"), plain),
    "samples": DatasetFormat(("prompt", "samples"), samples),
    "math-samples": DatasetFormat(("question", "generated_answer", "answer"), samples),
}


def detect_format(row: Row) -> str:
    """The name of the first format whose keys a row has.

    Args:
        row: a row of a file.

    Raises:
        ValueError: the row has the keys of no known format.

    Examples:
        >>> detect_format({"id": "7", "prompt": "1 + 2 =", "solution": "3", "answer": "3"})
        'plain'
    """
    for name, known in DATASET_FORMATS.items():
        if all(key in row for key in known.keys):
            return name
    keys = "; ".join(f"{name}: {', '.join(x.keys)}" for name, x in DATASET_FORMATS.items())
    raise ValueError(
        f"got the keys {', '.join(map(repr, row))[:200] or '(none)'}; known formats are {keys}"
    )


def read_labelled(
    path: str | Path,
    format: str = "auto",
    *,
    neutral: Neutral = "positive",
    until_first_error: bool = True,
    repeat: bool = False,
    include: Collection[str] = (),
    separator: str = "\n",
    report: ReadReport | None = None,
) -> Iterator[LabelledSolution]:
    r"""Read the labelled solutions of a file, in order, with one row in memory at a time.

    Malformed rows are set aside and counted in the report; if there are any, a warning is logged at
    the end of the file.

    Args:
        path: a JSON Lines file, gzipped if the name ends in ``.gz``; or a small JSON list.
        format: name of the format, one of ``DATASET_FORMATS``; ``"auto"`` detects it at the first
            well-formed row.
        neutral: label of neutral steps: ``"positive"``, ``"negative"``, or ``"keep"`` for a class
            of their own; applied before ``until_first_error``.
        until_first_error: drop the labels after the first wrong step.
        repeat: keep the label of a step in every solution of a row that has the step, as for a
            benchmark; by default only in the first, as for training.
        include: kinds of PRM800K rows to read although they are usually left out: names of
            ``prm800k.CHECKS``.
        separator: text that ends a step of the plain and samples formats.
        report: counts of the rows, filled while the file is read; a new one for each file.

    Raises:
        ValueError: an argument is not allowed; or, at the end of the file, it had no solution.
        OSError: on the first row: the file cannot be read.

    Examples:
        >>> import tempfile
        >>> from reason_decode.io.jsonl import ReadReport
        >>> report = ReadReport()
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"prompt": "1 + 2 =", "completions": ["3"], "labels": [true]}', file=file)
        ...     file.flush()
        ...     [solution.labels for solution in read_labelled(file.name, report=report)]
        [(1,)]
        >>> print(report)
        1 rows (stepwise): 1 items
    """
    if format != "auto" and format not in DATASET_FORMATS:
        raise ValueError(f"got format={format!r}; allowed are 'auto', {', '.join(DATASET_FORMATS)}")
    if isinstance(include, str) or not set(include) <= set(CHECKS):
        raise ValueError(f"got include={include!r}; allowed is a list of {', '.join(CHECKS)}")
    # Raise for a wrong argument now, not on the first row.
    resolve_neutral((), neutral)
    StepSplitter(separator)
    readers = _readers(separator, frozenset(include))
    name = Path(path).name

    def relabel(solution: LabelledSolution, number: int) -> LabelledSolution:
        labels = resolve_neutral(solution.labels, neutral)
        if until_first_error:
            labels = labels_until_first_error(labels)
        return replace(solution, labels=labels, source=solution.source or f"{name}:{number}")

    def read(report: ReadReport) -> Iterator[LabelledSolution]:
        report.format = None if format == "auto" else format
        for number, fields in report.rows_of(path):
            try:
                row_format = report.format or detect_format(fields)
                found = readers[row_format](fields)
            except (ValueError, RecursionError) as error:
                report.reject(number, str(error))
                continue
            report.format = row_format
            before = [item for item in found if isinstance(item, LabelledSolution)]
            report.left_out.update(item.reason for item in found if isinstance(item, LeftOut))
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


def _readers(separator: str, include: frozenset[str]) -> dict[str, Any]:
    """The function that reads a row, by format."""
    return {name: known.read for name, known in DATASET_FORMATS.items()} | {
        "prm800k": partial(prm800k, include=include),
        "plain": partial(plain, separator=separator),
        "samples": partial(samples, separator=separator),
        "math-samples": partial(samples, separator=separator),
    }


def _has_label(solution: LabelledSolution) -> bool:
    return any(label is not None for label in solution.labels)
