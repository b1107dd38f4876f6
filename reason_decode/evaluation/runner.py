"""One strategy over the items of one task."""

import re
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from reason_decode.core.records import Cost, Trace
from reason_decode.evaluation.complete import Completer, local
from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.runs.batches import Batches, FailedItem
from reason_decode.runs.options import SINGLE_SHARD, Shard
from reason_decode.tasks import Item, Task

__all__ = ["answered", "evaluate", "summary"]


def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    strategy: Callable[..., Any] | None,
    items: Sequence[Item],
    task: Task,
    *,
    batch_size: int = 8,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    trace: bool = False,
) -> dict[str, Any]:
    """The share of items that a strategy gets right, and what that cost.

    The random state is set once, and items run in the given order in batches of the given size, so
    that the same arguments on the same machine give the same texts.

    Args:
        model: a causal language model.
        tokenizer: the model's.
        strategy: a decoding strategy, or ``None`` for plain ``generate``.
        items: problems of the task.
        task: grades.
        batch_size: prompts a call of ``generate``.
        max_new_tokens: tokens a solution may have; the task's own budget if ``None``.
        temperature: of sampling; 0 is greedy.
        seed: of torch's random state.
        trace: whether the rows say what the strategy looked at.

    Returns:
        ``task, strategy, n, seed, items, correct, accuracy, ci95, cost, seconds, set_aside``
        (``id, reason`` of items that could not be done, see ``Batches``, and do not count) and
        ``rows`` (``id, correct, text`` of each item; with ``trace`` also ``target`` and ``trace``,
        which is ``None`` where no strategy ran); with a strategy also ``pass_at_n``, the share
        of items of which any compared candidate is right. Ready for ``json.dumps``.

    Raises:
        ValueError: no items, a batch size or token budget below 1, a temperature below 0; no item
            could be done.
    """
    budget = task.max_new_tokens if max_new_tokens is None else max_new_tokens
    _check(items, batch_size, budget, temperature)
    how: dict[str, Any] = {"max_new_tokens": budget, "temperature": temperature}
    torch.manual_seed(seed)
    solve = local(model, tokenizer, strategy, seed=None, **how)
    named = _name(strategy, temperature)
    batches = answered(solve, items, task, batch_size, trace=trace, desc=named)
    lines = [line for _, line in batches]
    n = getattr(strategy, "n", 1)
    return summary(items, lines, batches.failed, task=task.name, strategy=named, n=n, seed=seed)


def answered(
    solve: Completer,
    items: Sequence[Item],
    task: Task,
    batch_size: int = 8,
    *,
    done: Container[int] = (),
    shard: Shard = SINGLE_SHARD,
    trace: bool = False,
    desc: str | None = None,
) -> Batches[dict[str, Any]]:
    """The items' solutions, graded, batch by batch: see ``Batches``; places are those of items.

    Args:
        solve: continues prompts; it gets the items' ids as their numbers.
        items: problems of the task.
        task: grades.
        batch_size: prompts a batch.
        done: places of items that need not be done.
        shard: which batches are run here.
        trace: whether the rows say what the strategy looked at.
        desc: for the progress bar.

    Returns:
        Of each batch ``items`` (their places), ``rows`` (``id, correct, text``; with a strategy
        ``reachable``, whether any compared candidate is right; with ``trace`` also ``target`` and
        ``trace``), ``cost`` and ``seconds``.
    """

    def do(places: Sequence[int]) -> dict[str, Any]:
        start, batch = time.perf_counter(), [items[place] for place in places]
        made = solve([item.prompt for item in batch], [item.id for item in batch])
        rows: list[dict[str, Any]] = [
            {"id": item.id, "correct": task.grade(item, text), "text": text}
            for item, text in zip(batch, made.texts, strict=True)
        ]
        traces = made.traces or [None] * len(batch)
        for row, item, seen in zip(rows, batch, traces, strict=True):
            if seen is not None:
                row["reachable"] = _any_right(task, item, seen)
            if trace:
                row |= {"target": item.target, "trace": seen and seen.to_dict()}
        seconds = time.perf_counter() - start
        return {"items": list(places), "rows": rows, "cost": asdict(made.cost), "seconds": seconds}

    places = range(len(items))
    return Batches(places, batch_size, do, done=done, shard=shard, desc=desc)


def summary(
    items: Sequence[Item],
    lines: Iterable[Mapping[str, Any]],
    aside: Sequence[FailedItem],
    *,
    task: str,
    strategy: str,
    n: int,
    seed: int,
) -> dict[str, Any]:
    """The result of ``evaluate``, from what ``answered`` gave.

    Args:
        items: all of them.
        lines: of each batch; an item that two of them have is taken from the first.
        aside: items that could not be done; they do not count.
        task: its name, for the result.
        strategy: its name, for the result.
        n: for the result.
        seed: for the result.

    Raises:
        ValueError: no item could be done.
    """
    found: dict[int, dict[str, Any]] = {}
    cost, seconds = Cost(), 0.0
    for line in lines:
        cost += Cost(**line["cost"])
        seconds += line["seconds"]
        for place, row in zip(line["items"], line["rows"], strict=True):
            found.setdefault(place, dict(row))
    if not found:
        why = aside[0].reason if aside else "none was tried"
        raise ValueError(f"none of the {len(items)} items could be done; the first: {why}")
    rows = [found[place] for place in sorted(found)]
    correct = sum(row["correct"] for row in rows)
    reachable = [row.pop("reachable") for row in rows if "reachable" in row]
    return {
        "task": task,
        "strategy": strategy,
        "n": n,
        "seed": seed,
        "items": len(rows),
        "correct": correct,
        "accuracy": correct / len(rows),
        "ci95": list(accuracy_interval(correct, len(rows))),
        **({"pass_at_n": sum(reachable) / len(rows)} if reachable else {}),
        "cost": cost.to_dict(),
        "seconds": seconds,
        "set_aside": [{"id": items[x.index].id, "reason": x.reason} for x in aside],
        "rows": rows,
    }


def _any_right(task: Task, item: Item, trace: Trace) -> bool:
    return any(task.grade(item, candidate.text) for candidate in trace.candidates)


def _name(strategy: Callable[..., Any] | None, temperature: float) -> str:
    """``BestOfN`` -> ``best-of-n``: commands and results call a strategy the same."""
    if strategy is None:
        return "sample" if temperature else "greedy"
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(strategy).__name__).lower()


def _check(items: Sequence[Item], batch_size: int, budget: int, temperature: float) -> None:
    if not items:
        raise ValueError("got no items; pass at least one problem of the task")
    for name, value in (("batch_size", batch_size), ("max_new_tokens", budget)):
        if value < 1:
            raise ValueError(f"got {name}={value}; need at least 1")
    # Written so that NaN is refused too.
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"got temperature={temperature}; need 0 (greedy) or more")
