"""Traces read from the files that commands write, each checked before anything draws it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from reason_decode.core.records import Trace
from reason_decode.io.jsonl import Reject, stream_rows

__all__ = ["Shown", "TraceFile", "read_traces"]


@dataclass(frozen=True)
class Shown:
    """A trace and what is known about it beside.

    Args:
        trace: what happened.
        id: the item's, or the line of its prompt; ``None``: its place is shown.
        correct: whether the choice is right; ``None`` where nobody graded it.
        target: the right answer, where known.
        run: place of the run that it belongs to among those of a page.
    """

    trace: Trace
    id: int | str | None = None
    correct: bool | None = None
    target: str | None = None
    run: int = 0


@dataclass(frozen=True)
class TraceFile:
    """What a file of traces holds.

    Args:
        traces: in the file's order.
        run: how they were made, as ``reason-decode eval --trace`` says; else empty.
        rejected: the lines that hold no trace.
    """

    traces: list[Shown] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    rejected: list[Reject] = field(default_factory=list)


def read_traces(path: str | Path, run: int = 0) -> TraceFile:
    r"""The traces of a JSON Lines file, and the lines that hold none with the reason.

    A line is what ``generate --trace`` or ``eval --trace`` writes (an object with ``trace``, and
    perhaps ``id``, ``correct``, ``target``), a bare ``Trace.to_dict()``, or ``{"run": ...}``.

    Args:
        path: UTF-8 text, gzipped where the name ends in ``.gz``.
        run: given to each trace.

    Raises:
        OSError: the file cannot be read.
    """
    file = TraceFile()
    for row in stream_rows(path):
        if isinstance(row, Reject):
            file.rejected.append(row)
            continue
        number, saved = row
        if "trace" not in saved and isinstance(saved.get("run"), dict):
            file.run.update(saved["run"])
            continue
        try:
            file.traces.append(_shown(saved, number, run))
        except ValueError as error:
            file.rejected.append(Reject(number, str(error)))
    return file


def _shown(saved: Mapping[str, Any], number: int, run: int) -> Shown:
    """The trace of one line.

    Raises:
        ValueError: there is none, or what is called one cannot be drawn.
    """
    bare = "candidates" in saved and "trace" not in saved
    trace = _trace(saved if bare else saved.get("trace"))
    beside = {} if bare else saved
    id, correct, target = (beside.get(name) for name in ("id", "correct", "target"))
    return Shown(
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
    wrong = _misfit(trace, Trace, "trace")
    if wrong is None and not trace.chosen:
        wrong = "trace.chosen is empty; need at least one place in trace.candidates"
    if wrong is None and not all(0 <= k < len(trace.candidates) for k in trace.chosen):
        wrong = f"got trace.chosen={trace.chosen}; there are {len(trace.candidates)} candidates"
    if wrong is not None:
        raise ValueError(wrong)
    return trace


_MOST = sys.float_info.max
_WORDS = {float: "a finite number", str: "a text", int: "a whole number", bool: "true or false"}


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _misfit(value: Any, hint: Any, where: str) -> str | None:
    """What is not as the records' types say, found first; ``None`` if all is."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is UnionType:
        wrong = [_misfit(value, one, where) for one in inner if one is not type(None)]
        return None if value is None or None in wrong else wrong[0]
    if kind is tuple:
        found = (_misfit(x, inner[0], f"{where}[{k}]") for k, x in enumerate(value))
        return next(filter(None, found), None)
    if kind is dict and isinstance(value, dict):
        found = (_misfit(x, inner[1], f"{where}[{key!r:.40}]") for key, x in value.items())
        return next(filter(None, found), None)
    if is_dataclass(hint):
        named = _hints(type(value)).items()
        found = (_misfit(getattr(value, name), x, f"{where}.{name}") for name, x in named)
        return next(filter(None, found), None)
    if hint is float:
        # So that NaN and whole numbers beyond any float are refused too.
        fits = isinstance(value, int | float) and -_MOST <= value <= _MOST
    else:
        fits = isinstance(value, kind or hint)
    if fits and not (isinstance(value, bool) and hint is not bool):
        return None
    return f"got {where}={value!r:.80}; need {_WORDS.get(hint, 'another kind of value')}"
