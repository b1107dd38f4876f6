"""Labels that people give between two runs of active learning, in files that they fill in."""

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from reason_decode.io.jsonl import stream_rows, write_rows
from reason_decode.io.read_report import Reject
from reason_decode.training.labelled import LabelledSolution

__all__ = ["TO_LABEL", "with_labels", "write_to_label"]

TO_LABEL = "to_label-*.jsonl"
"""Files of solutions to label, one or more a round; they are never written twice."""


def with_labels(
    solutions: Sequence[LabelledSolution], labelled: Iterable[LabelledSolution]
) -> tuple[list[LabelledSolution], list[LabelledSolution]]:
    """Solutions with the labels that they have elsewhere, and those that have none anywhere.

    Args:
        solutions: any number.
        labelled: solutions with labels; of equal solutions the last one with labels counts.

    Returns:
        The solutions with labels, then those without, each in order.

    Examples:
        >>> from reason_decode.training import LabelledSolution
        >>> one, two = (LabelledSolution("p", (step,), (None,)) for step in "ab")
        >>> known = [LabelledSolution("p", ("a",), (1,))]
        >>> [[x.steps for x in side] for side in with_labels([one, two], known)]
        [[('a',)], [('b',)]]
    """
    known = {(x.prompt, x.steps): x for x in labelled if _has_labels(x)}
    found = [x if _has_labels(x) else known.get((x.prompt, x.steps), x) for x in solutions]
    return [x for x in found if _has_labels(x)], [x for x in found if not _has_labels(x)]


def write_to_label(folder: Path, round: int, solutions: Sequence[LabelledSolution]) -> Path:
    """Write the solutions that a round waits for, as rows whose ``labels`` are to be filled in.

    A file that lists them already is left as it is: its labels may be under way.

    Args:
        folder: folder of the rounds.
        round: number of the round.
        solutions: solutions without labels.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    rows = [_row(x) for x in solutions]
    wanted = {_key(row) for row in rows}
    for number in count(1):
        path = folder / f"to_label-{round}{f'-{number}' if number > 1 else ''}.jsonl"
        if not path.exists():
            write_rows(path, rows)
            return path
        held = [row[1] for row in stream_rows(path) if not isinstance(row, Reject)]
        if wanted <= {_key(row) for row in held}:
            return path
    raise AssertionError


def _has_labels(solution: LabelledSolution) -> bool:
    return any(label is not None for label in solution.labels)


def _row(x: LabelledSolution) -> dict[str, Any]:
    row = {"prompt": x.prompt, "completions": [*x.steps], "labels": [None] * len(x.steps)}
    known = {"answer": x.answer, "correct": x.correct, "source": x.source}
    return row | {name: value for name, value in known.items() if value not in (None, "")}


def _key(row: Any) -> tuple[str, tuple[str, ...]]:
    steps = row.get("completions")
    return str(row.get("prompt")), tuple(map(str, steps if isinstance(steps, list) else ()))
