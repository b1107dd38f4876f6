"""Prompts in, texts out, with what they cost: the one place that calls ``generate`` to measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.records import Cost, Trace

__all__ = ["Completer", "Completions", "complete", "local"]


@dataclass(frozen=True)
class Completions:
    """What a batch of prompts was continued by.

    Args:
        texts: one continuation a prompt, special tokens removed.
        traces: one a prompt; ``None`` where no strategy ran.
        cost: tokens spent on the whole batch.
    """

    texts: list[str]
    traces: tuple[Trace, ...] | None
    cost: Cost


Completer = Callable[[Sequence[str], Sequence[int]], Completions]
"""Continues prompts; each has a number, which what is random depends on."""


def local(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    strategy: Callable[..., Any] | None,
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int | None,
) -> Completer:
    """``complete`` as a ``Completer``, for a model in this process.

    Args:
        model: see ``complete``, as for what is not told of here.
        tokenizer: the model's.
        strategy: a decoding strategy, or ``None``.
        max_new_tokens: tokens a continuation may have.
        temperature: of sampling.
        seed: torch's random state is set to ``seed`` + the number of the first prompt before each
            batch, which then comes out the same whatever ran before it; ``None``: left alone.
    """

    def solve(prompts: Sequence[str], numbers: Sequence[int]) -> Completions:
        if seed is not None:
            torch.manual_seed(seed + numbers[0])
        how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        return complete(model, tokenizer, strategy, prompts, **how)

    return solve


def complete(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    strategy: Callable[..., Any] | None,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float,
) -> Completions:
    """Continue prompts: ``model.generate(**tokenizer(prompts), custom_generate=strategy)``.

    Args:
        model: a causal language model; untyped, since transformers types ``generate`` for none.
        tokenizer: has a padding token if there is more than one prompt; pads on the left here.
        strategy: a decoding strategy, or ``None`` for the host's own greedy search or sampling.
        prompts: b texts.
        max_new_tokens: tokens a continuation may have.
        temperature: of sampling from the whole vocabulary; 0 is greedy.
    """
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    inputs = {name: encoded[name].to(model.device) for name in ("input_ids", "attention_mask")}
    sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    output = model.generate(
        **inputs,
        **sampling,
        do_sample=temperature > 0,
        max_new_tokens=max_new_tokens,
        return_dict_in_generate=True,
        **({} if strategy is None else {"custom_generate": strategy}),
    )
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(new, skip_special_tokens=True)
    if strategy is not None:
        return Completions(texts, output.traces, output.cost)
    sampled = _count_sampled(new, _end_ids(model))
    prefill = int(inputs["attention_mask"].sum())
    return Completions(texts, None, Cost(prefill, sampled - len(texts), sampled))


def _end_ids(model: Any) -> list[int]:
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def _count_sampled(new: Tensor, ends: list[int]) -> int:
    """Tokens of (b, t) up to and with each row's first end; padding may share the end's id."""
    ended = torch.isin(new, torch.tensor(ends, dtype=new.dtype, device=new.device))
    behind = ended.cumsum(dim=1) - ended.long() > 0
    return int((~behind).sum())
