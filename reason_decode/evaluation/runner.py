"""Evaluation of a decoding strategy on the items of a task."""

import logging
import re
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from reason_decode.core.answers import none_right_message
from reason_decode.core.solutions import Cost
from reason_decode.core.thinking import answer_of
from reason_decode.evaluation.complete import Completer, ModelCompleter
from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.models.chat_template import has_chat_template
from reason_decode.runs.batches import Batches, FailedItem
from reason_decode.runs.options import SINGLE_SHARD, Shard
from reason_decode.tasks import Example, Item, Task, chat_prompt, text_prompt

__all__ = ["evaluate", "run_items", "summarize_results"]


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
    chat: bool | None = None,
    system: str | None = None,
    examples: Sequence[Example] = (),
    chat_template_kwargs: Mapping[str, Any] | None = None,
    thinking_tags: Sequence[str] | None = None,
    **generate_kwargs: Any,
) -> dict[str, Any]:
    """Accuracy and cost of a strategy on the items of a task.

    The random state is set once, and items run in the given order in batches of the given size, so
    that the same arguments on the same machine give the same texts.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of ``model``.
        strategy: a decoding strategy, or ``None`` for plain ``generate``.
        items: problems of the task.
        task: grades the solutions.
        batch_size: prompts in a call of ``generate``.
        max_new_tokens: tokens of a solution, at most; ``None``: as many as the task allows.
        temperature: sampling temperature; 0 is greedy.
        seed: seed of torch's random state.
        trace: whether the rows have the traces.
        chat: whether problems are put as conversations; ``None``: if the tokenizer has a chat
            template.
        system: text of a system turn of these conversations.
        examples: solved problems that a prompt shows first.
        chat_template_kwargs: further arguments of the chat template.
        thinking_tags: the texts before and after a thought; ``None``: found in the chat template.
        generate_kwargs: further arguments of ``generate``, such as ``top_p``.

    Returns:
        ``task, strategy, n, seed, items, correct, accuracy, ci95, cost, seconds, failed`` (``id,
        reason`` of the items that failed, see ``Batches``, which do not count) and ``rows`` (``id,
        correct, text`` of each item; with a strategy ``score`` and, of a vote, ``agreement``; with
        ``trace`` also ``target`` and ``trace``, which is ``None`` without a strategy); with a
        strategy also ``pass_at_n``, the share of items for which any candidate is right. Ready for
        ``json.dumps``.

    Raises:
        ValueError: no items, a batch size or token budget below 1, a temperature below 0; no item
            could be done.
    """
    budget = task.max_new_tokens if max_new_tokens is None else max_new_tokens
    _check(items, batch_size, budget, temperature)
    torch.manual_seed(seed)
    chat = has_chat_template(tokenizer) if chat is None else chat
    completer = ModelCompleter(
        model,
        tokenizer,
        strategy,
        max_new_tokens=budget,
        temperature=temperature,
        seed=None,
        chat=chat,
        chat_template_kwargs=chat_template_kwargs or {},
        stop=() if chat else task.stop,
        thinking_tags=thinking_tags,
        generate_kwargs=generate_kwargs,
    )
    name = _name(strategy, temperature)
    batches = run_items(
        completer,
        items,
        task,
        batch_size,
        trace=trace,
        desc=name,
        system=system,
        examples=examples,
    )
    results = [result for _, result in batches]
    return summarize_results(
        items,
        results,
        batches.failed,
        task=task.name,
        strategy=name,
        n=getattr(strategy, "n", 1),
        seed=seed,
    )


def run_items(
    completer: Completer,
    items: Sequence[Item],
    task: Task,
    batch_size: int = 8,
    *,
    done: Container[int] = (),
    shard: Shard = SINGLE_SHARD,
    trace: bool = False,
    desc: str | None = None,
    system: str | None = None,
    examples: Sequence[Example] = (),
) -> Batches[dict[str, Any]]:
    """Batches of items; iterating completes their prompts and grades the solutions.

    Args:
        completer: completes prompts, by the ids of their items.
        items: problems of the task.
        task: grades the solutions.
        batch_size: prompts in a batch.
        done: indices of items to skip.
        shard: the batches to run.
        trace: whether the rows have the traces.
        desc: label of the progress bar.
        system: text of a system turn, where prompts are conversations.
        examples: solved problems that a prompt shows first.

    Returns:
        Batches whose results have ``items`` (their indices), ``rows`` (``id, correct, text``; with
        a strategy ``reachable``, whether any candidate is right, ``score`` and, of a vote,
        ``agreement``; with ``trace`` also ``target`` and
        ``trace``), ``cost`` and ``seconds``.
    """
    stop = () if completer.chat else task.stop

    def grade(item: Item, text: str) -> bool:
        for mark in stop:
            text = text.partition(mark)[0]  # a base model goes on to the next question
        return task.grade(item, text)

    def run(indices: Sequence[int]) -> dict[str, Any]:
        start, batch = time.perf_counter(), [items[index] for index in indices]
        prompts = [
            chat_prompt(task, item, system=system, examples=examples)
            if completer.chat
            else text_prompt(item, examples)
            for item in batch
        ]
        questions = [item.question for item in batch]
        made = completer(prompts, [item.id for item in batch], questions)
        rows: list[dict[str, Any]] = [
            {"id": item.id, "correct": grade(item, made.answer(k)), "text": made.texts[k]}
            for k, item in enumerate(batch)
        ]
        traces = made.traces or [None] * len(batch)
        for row, item, seen in zip(rows, batch, traces, strict=True):
            if seen is not None:
                row["reachable"] = any(
                    grade(item, answer_of(one.text, made.tags, one.in_thought))
                    for one in seen.candidates
                )
                row["score"] = seen.best.total
                if seen.agreement is not None:
                    row["agreement"] = seen.agreement
            if trace:
                row |= {"target": item.target, "trace": seen and seen.to_dict()}
        seconds = time.perf_counter() - start
        return {"items": list(indices), "rows": rows, "cost": asdict(made.cost), "seconds": seconds}

    return Batches(range(len(items)), batch_size, run, done=done, shard=shard, desc=desc)


def summarize_results(
    items: Sequence[Item],
    results: Iterable[Mapping[str, Any]],
    failed: Sequence[FailedItem],
    *,
    task: str,
    strategy: str,
    n: int,
    seed: int,
) -> dict[str, Any]:
    """The result of ``evaluate`` from the results of the batches of ``run_items``.

    A warning is logged if no item is solved, which may be a matter of the answers' form.

    Args:
        items: all items.
        results: results of batches; an item in two of them is taken from the first.
        failed: items that failed, which do not count.
        task: name of the task.
        strategy: name of the strategy.
        n: number of candidates.
        seed: seed of the run.

    Raises:
        ValueError: no item could be done.
    """
    found: dict[int, dict[str, Any]] = {}
    cost, seconds = Cost(), 0.0
    for result in results:
        cost += Cost(**result["cost"])
        seconds += result["seconds"]
        for index, row in zip(result["items"], result["rows"], strict=True):
            found.setdefault(index, dict(row))
    if not found:
        why = failed[0].reason if failed else "none was tried"
        raise ValueError(f"none of the {len(items)} items could be done; the first: {why}")
    indices = sorted(found)
    rows = [found[index] for index in indices]
    correct = sum(row["correct"] for row in rows)
    if not correct:
        message = none_right_message(len(rows), rows[0]["text"], items[indices[0]].target)
        logging.getLogger(__name__).warning("%s: %s", task, message)
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
        "failed": [{"id": items[x.index].id, "reason": x.reason} for x in failed],
        "rows": rows,
    }


def _name(strategy: Callable[..., Any] | None, temperature: float) -> str:
    """Name of a strategy in commands: ``BestOfN`` -> ``best-of-n``."""
    if strategy is None:
        return "sample" if temperature else "greedy"
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(strategy).__name__).lower()


def _check(items: Sequence[Item], batch_size: int, budget: int, temperature: float) -> None:
    if not items:
        raise ValueError("got no items; pass at least one problem of the task")
    for name, value in (("batch_size", batch_size), ("max_new_tokens", budget)):
        if value < 1:
            raise ValueError(f"got {name}={value}; need at least 1")
    # This form of the comparison refuses NaN, too.
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"got temperature={temperature}; need 0 (greedy) or more")
