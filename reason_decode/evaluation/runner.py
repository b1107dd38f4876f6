"""One strategy over the items of one task."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from reason_decode.evaluation.complete import complete
from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.evaluation.tasks import Item, Task
from reason_decode.records import Cost, Trace

__all__ = ["evaluate"]


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
        ``task, strategy, n, seed, items, correct, accuracy, ci95, cost, seconds`` and ``rows``
        (``id, correct, text`` of each item; with ``trace`` also ``target`` and ``trace``, which is
        ``None`` where no strategy ran); with a strategy also ``pass_at_n``, the share of
        items of which any compared candidate is right. Ready for ``json.dumps``.

    Raises:
        ValueError: no items, a batch size or token budget below 1, a temperature below 0.
    """
    budget = task.max_new_tokens if max_new_tokens is None else max_new_tokens
    _check(items, batch_size, budget, temperature)
    torch.manual_seed(seed)
    rows: list[dict[str, Any]] = []
    reachable, cost, start = 0, Cost(), time.perf_counter()
    bar = tqdm(total=len(items), desc=_name(strategy, temperature), unit="item", disable=None)
    for at in range(0, len(items), batch_size):
        batch = items[at : at + batch_size]
        done = complete(
            model,
            tokenizer,
            strategy,
            [item.prompt for item in batch],
            max_new_tokens=budget,
            temperature=temperature,
        )
        cost += done.cost
        for k, (item, text) in enumerate(zip(batch, done.texts, strict=True)):
            rows.append({"id": item.id, "correct": task.grade(item, text), "text": text})
            if trace:
                seen = done.traces and done.traces[k].to_dict()
                rows[-1] |= {"target": item.target, "trace": seen}
        if done.traces is not None:
            reachable += sum(map(_any_right, [task] * len(batch), batch, done.traces))
        bar.update(len(batch))
    bar.close()
    correct = sum(row["correct"] for row in rows)
    return {
        "task": task.name,
        "strategy": _name(strategy, temperature),
        "n": getattr(strategy, "n", 1),
        "seed": seed,
        "items": len(items),
        "correct": correct,
        "accuracy": correct / len(items),
        "ci95": list(accuracy_interval(correct, len(items))),
        **({} if strategy is None else {"pass_at_n": reachable / len(items)}),
        "cost": cost.to_dict(),
        "seconds": time.perf_counter() - start,
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
