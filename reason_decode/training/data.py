"""Files of labelled solutions, in whichever published layout, one row at a time."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reason_decode.core.steps import StepSplitter
from reason_decode.io.jsonl import ReadReport
from reason_decode.training import labelled as supervision
from reason_decode.training.fields import Row
from reason_decode.training.labelled import LabelledSolution, Neutral
from reason_decode.training.layouts import (
    bigbench_mistake,
    math_shepherd,
    plain,
    processbench,
    samples,
    stepwise,
)
from reason_decode.training.prm800k import CHECKS, LeftOut, prm800k

__all__ = ["LAYOUTS", "Layout", "detect", "read_labelled"]


class Layout(NamedTuple):
    """How a published layout is known and read.

    Args:
        keys: what every row has.
        read: the solutions of a row; raises ``ValueError`` where it is malformed.

    Example:
        >>> LAYOUTS["stepwise"].keys
        ('prompt', 'completions', 'labels')
    """

    keys: tuple[str, ...]
    read: Callable[..., Sequence[LabelledSolution | LeftOut]]


LAYOUTS = {
    "prm800k": Layout(("question", "label"), prm800k),
    "stepwise": Layout(("prompt", "completions", "labels"), stepwise),
    "math-shepherd": Layout(("input", "label"), math_shepherd),
    "processbench": Layout(("problem", "steps", "label"), processbench),
    "bigbench-mistake": Layout(("input", "steps", "target", "mistake_index"), bigbench_mistake),
    "plain": Layout(("prompt", "solution"), plain),
    "samples": Layout(("prompt", "samples"), samples),
    "math-samples": Layout(("question", "generated_answer", "answer"), samples),
}


def detect(row: Row) -> str:
    """The name of the layout that a row has the keys of.

    Args:
        row: the row.

    Raises:
        ValueError: there is none.

    Example:
        >>> detect({"id": "7", "prompt": "1 + 2 =", "solution": "3", "answer": "3"})
        'plain'
    """
    for name, layout in LAYOUTS.items():
        if all(key in row for key in layout.keys):
            return name
    known = "; ".join(f"{name}: {', '.join(layout.keys)}" for name, layout in LAYOUTS.items())
    raise ValueError(
        f"got the keys {', '.join(map(repr, row))[:200] or '(none)'}; known layouts are {known}"
    )


def read_labelled(
    path: str | Path,
    format: str = "auto",
    *,
    neutral: Neutral = "positive",
    until_first_error: bool = True,
    repeat: bool = False,
    keep: Collection[str] = (),
    separator: str = "\n",
    report: ReadReport | None = None,
) -> Iterator[LabelledSolution]:
    r"""The labelled solutions of a file, in its order, one row in memory at a time.

    A malformed row is set aside and counted in the report; where there are any, the end of the file
    logs a warning too. The rows behind it are read.

    Args:
        path: a JSON Lines file, gzipped where the name ends in ``.gz``; or a small JSON list.
        format: a name of ``LAYOUTS``; ``"auto"`` for that of the first well-formed row.
        neutral: what a rating of 0 becomes; see ``binary``.
        until_first_error: whether labels end with the first wrong step; see the function of that
            name. ``neutral`` is settled before.
        repeat: whether a step's label is given in each of a row's solutions that hold the step, as
            a benchmark wants it; else in the first only, as training does; see ``once``.
        keep: PRM800K's rows that would be left out: names of ``prm800k.CHECKS``.
        separator: what ends a step of the plain layout's solutions.
        report: counts of the rows, filled while the file is read; a new one for each file.

    Raises:
        ValueError: an argument is not allowed, or, at its end, the file had no solution.
        OSError: when the first is asked for: the file cannot be read.

    Example:
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
    if format != "auto" and format not in LAYOUTS:
        raise ValueError(f"got format={format!r}; allowed are 'auto', {', '.join(LAYOUTS)}")
    if isinstance(keep, str) or not set(keep) <= set(CHECKS):
        raise ValueError(f"got keep={keep!r}; allowed is a list of {', '.join(CHECKS)}")
    supervision.binary((), neutral)
    StepSplitter(separator)
    readers = _readers(separator, frozenset(keep))
    name = Path(path).name

    def learnt(solution: LabelledSolution, number: int) -> LabelledSolution:
        labels = supervision.binary(solution.labels, neutral)
        if until_first_error:
            labels = supervision.until_first_error(labels)
        return replace(solution, labels=labels, source=solution.source or f"{name}:{number}")

    def read(report: ReadReport) -> Iterator[LabelledSolution]:
        report.format = None if format == "auto" else format
        for number, fields in report.rows_of(path):
            try:
                layout = report.format or detect(fields)
                found = readers[layout](fields)
            except (ValueError, RecursionError) as error:
                report.reject(number, str(error))
                continue
            report.format = layout
            before = [item for item in found if isinstance(item, LabelledSolution)]
            report.left_out.update(item.reason for item in found if isinstance(item, LeftOut))
            after = [learnt(item, number) for item in before]
            for old, new in zip(before, after if repeat else supervision.once(after), strict=True):
                if _labelled(old) and not _labelled(new):
                    report.left_out["solution without a label of its own"] += 1
                else:
                    report.items += 1
                    yield new
        if not report.items:
            raise ValueError(f"{path} has no usable row: {report}")
        if report.malformed:
            logging.getLogger(__name__).warning("%s: %s", path, report)

    return read(ReadReport() if report is None else report)


def _readers(separator: str, keep: frozenset[str]) -> dict[str, Any]:
    """What reads a row of each layout."""
    return {name: layout.read for name, layout in LAYOUTS.items()} | {
        "prm800k": partial(prm800k, keep=keep),
        "plain": partial(plain, separator=separator),
        "samples": partial(samples, separator=separator),
        "math-samples": partial(samples, separator=separator),
    }


def _labelled(solution: LabelledSolution) -> bool:
    return any(label is not None for label in solution.labels)
