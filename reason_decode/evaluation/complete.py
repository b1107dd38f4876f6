"""Completions of prompts and their cost: the only caller of ``generate`` in the evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.solutions import Cost, Trace

__all__ = ["Completer", "Completions", "complete", "local_completer"]


@dataclass(frozen=True)
class Completions:
    """Completions of a batch of prompts.

    Args:
        texts: the completion of each prompt, without special tokens.
        traces: the trace of each prompt; ``None`` without a strategy.
        cost: tokens of the whole batch.
    """

    texts: list[str]
    traces: tuple[Trace, ...] | None
    cost: Cost


Completer = Callable[[Sequence[str], Sequence[int]], Completions]
"""Prompts and their ids -> their completions. The ids seed the sampling."""


def local_completer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    strategy: Callable[..., Any] | None,
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int | None,
) -> Completer:
    """A ``Completer`` of a model in this process; see ``complete``.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of ``model``.
        strategy: a decoding strategy, or ``None``.
        max_new_tokens: tokens of a completion, at most.
        temperature: sampling temperature; 0 is greedy.
        seed: before each batch torch's random state is set to ``seed`` + the id of its first
            prompt, so that a batch does not depend on those that ran before; ``None``: never set.
    """

    def completer(prompts: Sequence[str], ids: Sequence[int]) -> Completions:
        if seed is not None:
            torch.manual_seed(seed + ids[0])
        return complete(
            model,
            tokenizer,
            strategy,
            prompts,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
        )

    return completer


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
        model: a causal language model; untyped, because transformers does not type ``generate``.
        tokenizer: the tokenizer of ``model``; it needs a padding token for several prompts, which
            are padded on the left.
        strategy: a decoding strategy, or ``None`` for greedy search or sampling of ``model``.
        prompts: b texts.
        max_new_tokens: tokens of a completion, at most.
        temperature: temperature of sampling from the whole vocabulary; 0 is greedy.
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
    """Number of tokens of (b, t) up to the first end of each row, included.

    Padding may have the id of the end, so it cannot be counted by its id.
    """
    is_end = torch.isin(new, torch.tensor(ends, dtype=new.dtype, device=new.device))
    is_padding = is_end.cumsum(dim=1) - is_end.long() > 0
    return int((~is_padding).sum())
