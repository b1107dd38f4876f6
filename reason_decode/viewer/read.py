"""Reading traces from the files that commands write; each is checked before it is shown."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from reason_decode.core.solutions import Trace
from reason_decode.io.jsonl import few_blank_lines, stream_rows
from reason_decode.io.read_report import Reject

__all__ = ["TraceEntry", "TraceFile", "read_traces"]


@dataclass(frozen=True)
class TraceEntry:
    """A trace with its id, its grade and its run.

    Args:
        trace: the trace.
        id: id of the item, or line number of its prompt; ``None``: its place in the list is shown.
        correct: whether the chosen solution is right; ``None`` if it was not graded.
        target: the right answer; ``None`` if it is not known.
        run: index of its run among the runs of a page.
    """

    trace: Trace
    id: int | str | None = None
    correct: bool | None = None
    target: str | None = None
    run: int = 0


@dataclass(frozen=True)
class TraceFile:
    """The content of a file of traces.

    Args:
        traces: the traces, in the file's order.
        run: settings and results of the run, as ``reason-decode eval --trace`` writes them; else
            empty.
        rejected: the lines that hold no trace.
    """

    traces: list[TraceEntry] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    rejected: list[Reject] = field(default_factory=list)


def read_traces(path: str | Path, run: int = 0) -> TraceFile:
    r"""The traces of a JSON Lines file, and the lines that hold none with the reason.

    A line is an object with ``trace`` and perhaps ``id``, ``correct`` and ``target``, as
    ``generate --trace`` and ``eval --trace`` write it; or ``Trace.to_dict()`` alone; or ``{"run":
    ...}``.

    Args:
        path: UTF-8 text, gzip-compressed if the name ends in ``.gz``.
        run: ``TraceEntry.run`` of each trace.

    Raises:
        OSError: the file cannot be read.
    """
    file = TraceFile()
    for row in few_blank_lines(stream_rows(path)):
        if isinstance(row, Reject):
            file.rejected.append(row)
            continue
        number, saved = row
        if "trace" not in saved and isinstance(saved.get("run"), dict):
            try:
                json.dumps(saved["run"], allow_nan=False)
            except ValueError:
                file.rejected.append(Reject(number, "a run with a number that is NaN or infinite"))
            else:
                file.run.update(saved["run"])
            continue
        try:
            file.traces.append(_entry(saved, number, run))
        except ValueError as error:
            file.rejected.append(Reject(number, str(error)))
    return file


def _entry(saved: Mapping[str, Any], number: int, run: int) -> TraceEntry:
    """The trace of one line.

    Raises:
        ValueError: the line has no trace, or one with fields of wrong types.
    """
    bare = "candidates" in saved and "trace" not in saved
    trace = _trace(saved if bare else saved.get("trace"))
    extra = {} if bare else saved
    id, correct, target = (extra.get(name) for name in ("id", "correct", "target"))
    return TraceEntry(
        trace,
        id=id if isinstance(id, int | str) else number,
        correct=correct if isinstance(correct, bool) else None,
        target=target if isinstance(target, str) else None,
        run=run,
    )


def _trace(saved: Any) -> Trace:
    if saved is None:
        raise ValueError("no trace; generate and eval write them with --trace")
    try:
        trace = Trace.from_dict(saved)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"no trace: {type(error).__name__}: {error}"[:300]) from error
    wrong = _find_misfit(trace, Trace, "trace")
    if wrong is None and not trace.chosen:
        wrong = "trace.chosen is empty; need at least one place in trace.candidates"
    if wrong is None and not all(0 <= k < len(trace.candidates) for k in trace.chosen):
        wrong = f"got trace.chosen={trace.chosen}; there are {len(trace.candidates)} candidates"
    if wrong is not None:
        raise ValueError(wrong)
    return trace


_LARGEST = sys.float_info.max
_TYPE_NAMES = {
    float: "a finite number",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
}


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _find_misfit(value: Any, hint: Any, where: str) -> str | None:
    """Message about the first value that does not have its annotated type; ``None`` if all have."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is UnionType:
        wrong = [_find_misfit(value, one, where) for one in inner if one is not type(None)]
        return None if value is None or None in wrong else wrong[0]
    if kind is tuple:
        found = (_find_misfit(x, inner[0], f"{where}[{k}]") for k, x in enumerate(value))
        return next(filter(None, found), None)
    if kind is dict and isinstance(value, dict):
        found = (_find_misfit(x, inner[1], f"{where}[{key!r:.40}]") for key, x in value.items())
        return next(filter(None, found), None)
    if is_dataclass(hint):
        named = _hints(type(value)).items()
        found = (_find_misfit(getattr(value, name), x, f"{where}.{name}") for name, x in named)
        return next(filter(None, found), None)
    if hint is float:
        # The comparison also rejects NaN, infinities and integers that no float can represent.
        fits = isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST
    else:
        fits = isinstance(value, kind or hint)
    if fits and not (isinstance(value, bool) and hint is not bool):
        return None
    return f"got {where}={value!r:.80}; need {_TYPE_NAMES.get(hint, 'another kind of value')}"
