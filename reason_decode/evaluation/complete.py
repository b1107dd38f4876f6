"""Completions of prompts and their cost: the only caller of ``generate`` in the evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt
from reason_decode.core.solutions import Cost, Trace
from reason_decode.core.thinking import (
    PROMPT_END,
    THINK,
    ThinkingTags,
    answer_of,
    check_thinking_tags,
    find_thinking_tags,
    opens_thought,
)
from reason_decode.generation.output import ReasoningOutput
from reason_decode.models.inputs import decode, encode_prompts, special_ids

__all__ = ["Completer", "Completions", "ModelCompleter", "complete"]


@dataclass(frozen=True)
class Completions:
    """Completions of a batch of prompts.

    Args:
        texts: the completion of each prompt, without special tokens.
        traces: the trace of each prompt; ``None`` without a strategy.
        cost: tokens of the whole batch.
        tags: the texts before and after a thought.
        in_thought: for each prompt, whether it opened a thought; empty: none did.
    """

    texts: list[str]
    traces: tuple[Trace, ...] | None
    cost: Cost
    tags: ThinkingTags = THINK
    in_thought: tuple[bool, ...] = ()

    def answer(self, k: int) -> str:
        """The k-th completion behind its thought; empty where that never closed."""
        return answer_of(self.texts[k], self.tags, bool(self.in_thought and self.in_thought[k]))


class Completer(Protocol):
    """Completes the prompts of a batch."""

    @property
    def chat(self) -> bool:
        """True if prompts are to be conversations, False if they are to be text."""
        ...

    def __call__(
        self, prompts: Sequence[Prompt], ids: Sequence[int], questions: Sequence[str] | None = None
    ) -> Completions:
        """The completions of prompts.

        Args:
            prompts: texts or conversations.
            ids: id of each prompt, which seeds the sampling.
            questions: what scorers are asked about; ``None``: found in the prompts.
        """
        ...


@dataclass(frozen=True)
class ModelCompleter:
    """A ``Completer`` of a model here or at a server; see ``complete``.

    Args:
        model: a causal language model, or a ``ServedModel``.
        tokenizer: the tokenizer of ``model``.
        strategy: a decoding strategy, or ``None``.
        max_new_tokens: tokens of a completion, at most.
        temperature: sampling temperature; 0 is greedy.
        seed: before each batch torch's random state is set to ``seed`` + the id of its first
            prompt, so that a batch does not depend on those that ran before; ``None``: never set.
        chat: whether prompts are to be conversations.
        chat_template_kwargs: further arguments of the chat template.
        stop: texts at which a completion of a text ends.
        thinking_tags: the texts before and after a thought; ``None``: found in the chat template.
        generate_kwargs: further arguments of ``generate``.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    strategy: Callable[..., Any] | None
    max_new_tokens: int
    temperature: float
    seed: int | None
    chat: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    stop: Sequence[str] = ()
    thinking_tags: Sequence[str] | None = None
    generate_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, prompts: Sequence[Prompt], ids: Sequence[int], questions: Sequence[str] | None = None
    ) -> Completions:
        """The completions of prompts; see ``Completer``."""
        if self.seed is not None:
            torch.manual_seed(self.seed + ids[0])
        return complete(
            self.model,
            self.tokenizer,
            self.strategy,
            prompts,
            questions=questions,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            chat_template_kwargs=self.chat_template_kwargs,
            stop=self.stop,
            thinking_tags=self.thinking_tags,
            **self.generate_kwargs,
        )


def complete(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    strategy: Callable[..., Any] | None,
    prompts: Sequence[Prompt],
    *,
    questions: Sequence[str] | None = None,
    max_new_tokens: int,
    temperature: float,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    stop: Sequence[str] = (),
    thinking_tags: Sequence[str] | None = None,
    **generate_kwargs: Any,
) -> Completions:
    """Continue prompts: ``model.generate(**encode_prompts(prompts), custom_generate=strategy)``.

    Args:
        model: a causal language model, or a ``ServedModel``; untyped, because transformers does not
            type ``generate``.
        tokenizer: the tokenizer of ``model``.
        strategy: a decoding strategy, or ``None`` for greedy search or sampling of ``model``.
        prompts: b texts or conversations, which the chat template renders.
        questions: what the strategy's scorer is asked about; ``None``: found in the prompts.
        max_new_tokens: tokens of a completion, at most.
        temperature: temperature of sampling, from the whole vocabulary unless further arguments say
            otherwise; 0 is greedy.
        chat_template_kwargs: further arguments of the chat template.
        stop: texts at which a completion ends.
        thinking_tags: the texts before and after a thought; ``None``: found in the chat template.
        generate_kwargs: further arguments of ``generate``, such as ``top_p``.
    """
    encoded = encode_prompts(tokenizer, prompts, chat_template_kwargs=chat_template_kwargs)
    inputs = {name: x.to(model.device) for name, x in encoded.items()}
    sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    options: dict[str, Any] = {**sampling, **generate_kwargs}
    if stop:
        options["stop_strings"] = list(stop)
    if strategy is None and stop:
        options["tokenizer"] = tokenizer  # a strategy has its own
    if strategy is not None:
        options["custom_generate"] = strategy
        # A strategy that knows no questions can still continue prompts that are questions.
        if questions is not None and list(questions) != list(prompts):
            options["questions"] = list(questions)
        if all(not isinstance(prompt, str) for prompt in prompts):
            options["messages"] = list(prompts)
    output = model.generate(
        **inputs,
        **options,
        do_sample=temperature > 0,
        max_new_tokens=max_new_tokens,
        return_dict_in_generate=True,
    )
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    tags = check_thinking_tags(thinking_tags) or find_thinking_tags(tokenizer)
    kept = special_ids(tokenizer, tags)
    texts = [decode(tokenizer, row, kept) for row in new]
    ends = tokenizer.batch_decode(encoded["input_ids"][:, -PROMPT_END:])
    in_thought = tuple(opens_thought(end, tags) for end in ends)
    # A model at a server counts what the server counted, without a strategy, too.
    if strategy is not None or isinstance(output, ReasoningOutput):
        return Completions(texts, output.traces, output.cost or Cost(), tags, in_thought)
    sampled = _count_sampled(new, _end_ids(model))
    prefill = int(inputs["attention_mask"].sum())
    cost = Cost(prefill, sampled - len(texts), sampled)
    return Completions(texts, None, cost, tags, in_thought)


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
