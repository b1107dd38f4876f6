"""Base class of the strategies, checks of their arguments, and the token budget of a prompt."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import LongTensor, Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
    StopStringCriteria,
)
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.chat_rendering import renders_marks, scorer_prompts
from reason_decode.core.messages import Conversation, Messages, turns
from reason_decode.core.solutions import Candidate, Cost, Trace
from reason_decode.core.thinking import (
    PROMPT_END,
    ThinkingTags,
    check_thinking_tags,
    find_thinking_tags,
    opens_thought,
)
from reason_decode.generation.engine import LocalGeneration
from reason_decode.generation.interface import Batch, Generation, Generator
from reason_decode.generation.output import ReasoningOutput
from reason_decode.generation.row_processors import ProcessorFactory
from reason_decode.generation.sampling import Branch
from reason_decode.models.inputs import decode, special_ids
from reason_decode.strategies.arguments import check_positive_or_none
from reason_decode.strategies.chat import Response, respond, to_conversations
from reason_decode.strategies.save import save_strategy


@dataclass(frozen=True, eq=False)
class Strategy(ABC):
    """A decoding strategy: a frozen callable for ``generate(custom_generate=...)``.

    A subclass writes ``run``. It keeps no state between calls, so one object serves many threads.
    It holds the tokenizer and the streamer itself, since ``generate`` passes neither ``tokenizer=``
    nor ``streamer=`` on to a callable.

    Args:
        tokenizer: the generator's tokenizer.
        streamer: receives the tokens of the answer as soon as they are final, for one prompt at a
            time: step by step where a search keeps them, else at the end.
        batch_rows: number of candidates that the generator decodes side by side, the others after
            them; ``None``: 256, or fewer where memory does not hold as many.

        thinking_tags: the texts before and after a thought, such as ``("<think>", "</think>")``;
            ``None``: found in the tokenizer's chat template.

    Raises:
        ValueError: the tokenizer or the streamer is something else, such as a name; ``batch_rows``
            is no whole number of at least 1; or the tags are not two texts.
    """

    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    streamer: BaseStreamer | None = field(default=None, repr=False)
    batch_rows: int | None = None
    thinking_tags: Sequence[str] | None = None

    def __post_init__(self) -> None:
        tokenizer: Any = self.tokenizer
        if not hasattr(tokenizer, "decode") or isinstance(tokenizer, bytes | type):
            raise ValueError(
                f"got tokenizer={tokenizer!r:.80}; pass the generator's own, loaded: "
                "AutoTokenizer.from_pretrained(...)"
            )
        if self.streamer is not None and not hasattr(self.streamer, "put"):
            raise ValueError(
                f"got streamer={self.streamer!r:.80}; pass one with put() and end(), such as "
                "transformers.TextStreamer(tokenizer), or None"
            )
        check_positive_or_none(batch_rows=self.batch_rows)
        # Both are found once: taking a chat template apart renders it several times.
        _ = self.tags, self._template

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        *,
        messages: Messages | Sequence[Messages] | None = None,
        questions: Sequence[str] | None = None,
        stop_strings: str | list[str] | None = None,
        processors: ProcessorFactory | None = None,
        **model_kwargs: Any,
    ) -> LongTensor | ReasoningOutput:
        """Decode; ``generate`` calls this with the arguments of ``LocalGeneration``.

        Args:
            model: the generator.
            input_ids: (b, t) int64, padded on the left.
            logits_processor: as ``generate`` made it.
            stopping_criteria: as ``generate`` made them.
            generation_config: as ``generate`` made it.
            messages: the conversation behind each prompt, for the scorer; ``None``: found by the
                template. ``generate`` passes it on, like those that follow.
            questions: the question of each prompt, for the scorer; overrules ``messages``.
            stop_strings: texts that end an answer, found by this strategy's tokenizer.
            processors: returns a list of new logits processors; every candidate gets one of its
                own, which sees that candidate's ids alone, (1, t), one token after the other. For
                processors that keep a state, such as grammars and budgets.
            model_kwargs: as ``generate`` made them.
        """
        if stop_strings is not None:
            found = StopStringCriteria(self.tokenizer, stop_strings)
            stopping_criteria = StoppingCriteriaList([*stopping_criteria, found])
        with torch.no_grad():
            generation = LocalGeneration(
                type(self).__name__,
                model,
                input_ids,
                logits_processor,
                stopping_criteria,
                generation_config,
                model_kwargs,
                self.streamer,
                processors,
                self.batch_rows,
            )
            output = self.decode(generation, messages=messages, questions=questions)
        return output if generation_config.return_dict_in_generate else output.sequences

    def decode(
        self,
        generation: Generation,
        *,
        messages: Messages | Sequence[Messages] | None = None,
        questions: Sequence[str] | None = None,
    ) -> ReasoningOutput:
        """Decode the prompts of one call; arguments and return value as in ``__call__``."""
        stream = generation.stream
        try:
            if stream is not None:
                stream.open(generation.prompt_ids)
            prompts = self._prompts(generation, messages, questions)
            sequences, traces, cost = self.run(generation, prompts)
            traces = [
                replace(trace, messages=tuple(turns(prompt)))
                if isinstance(prompt, Conversation)
                else trace
                for trace, prompt in zip(traces, prompts, strict=False)
            ]
            if stream is not None:
                stream.commit(sequences[0, generation.prompt_ids.shape[1] :])
        finally:
            if stream is not None:
                stream.close()
        return ReasoningOutput(sequences=sequences, traces=tuple(traces), cost=cost)

    def chat(
        self, model: Generator, messages: Any, *, system: str | None = None, **options: Any
    ) -> Any:
        """The model's response to a conversation, which its chat template renders.

        Args:
            model: the generator, whose tokenizer this strategy has; or a ``ServedModel``.
            messages: a conversation, or a user's text; a list of either is a batch.
            system: text of a system turn before the first turn.
            options: arguments of ``generate`` (``max_new_tokens=1024``, ``do_sample=True`` unless
                given), and ``chat_template_kwargs``, such as ``{"enable_thinking": False}``.

        Returns:
            A ``Response`` with text, answer, total or confidence, and trace; a list of a batch.

        Raises:
            ValueError: the messages are no conversation or cannot be rendered, or an option is not
                allowed.
        """
        chats, batch = to_conversations(messages, system)
        responses = respond(self, model, self.tokenizer, chats, **options)
        return responses if batch else responses[0]

    def complete(self, model: Generator, prompt: str | Sequence[str], **options: Any) -> Any:
        """The model's continuation of a text as it stands, without its chat template.

        Args:
            model: the generator, whose tokenizer this strategy has.
            prompt: a text; a list of texts is a batch.
            options: as in ``chat``.

        Returns:
            A ``Response``; a list of a batch.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        responses: list[Response] = respond(self, model, self.tokenizer, prompts, **options)
        return responses[0] if isinstance(prompt, str) else responses

    @abstractmethod
    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Decode the prompts of one call of ``generate``.

        Args:
            generation: reads and samples with the model; holds the prompts' token ids.
            prompts: the question of each prompt, which a scorer is asked about.

        Returns:
            Sequences (b * k, t) int64, one trace per prompt, and the tokens spent.
        """

    @cached_property
    def tags(self) -> ThinkingTags:
        """The texts before and after a thought of the generator."""
        return check_thinking_tags(self.thinking_tags) or find_thinking_tags(self.tokenizer)

    @cached_property
    def _template(self) -> tuple[Any, bool]:
        """The tokenizer's chat template, and whether it puts marks beside turns."""
        return getattr(self.tokenizer, "chat_template", None), renders_marks(self.tokenizer)

    def _prompts(
        self,
        generation: Generation,
        messages: Messages | Sequence[Messages] | None,
        questions: Sequence[str] | None,
    ) -> list[str]:
        """The question of each prompt of a call, as its scorer is asked."""
        # input_ids repeats the prompts num_return_sequences times
        rows = [generation.unpadded_prompt(k) for k in range(len(generation.prompt_ids))]
        template, has_marks = self._template
        known = template == getattr(self.tokenizer, "chat_template", None)
        if known and not has_marks and messages is None and questions is None:
            return [str(self.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
        return scorer_prompts(rows, self.tokenizer, messages, questions)

    def reader(self, generation: Generation, prompts: Sequence[str]) -> "SolutionReader":
        """A reader of the texts that one call samples.

        Args:
            generation: the call.
            prompts: the question of each prompt, as ``run`` gets them.
        """
        ends = [generation.unpadded_prompt(k)[-PROMPT_END:] for k in range(len(prompts))]
        opening = self.tags.opening
        in_thought = tuple(
            # A conversation may end with the beginning of an answer.
            str(self.tokenizer.decode(end)).rstrip().endswith(opening)
            or (isinstance(prompt, Conversation) and prompt.messages[-1]["role"] == "assistant")
            and opens_thought(prompt, self.tags)
            for end, prompt in zip(ends, prompts, strict=True)
        )
        return SolutionReader(self.tokenizer, self.tags, in_thought)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder for ``generate(custom_generate=folder, trust_remote_code=True)``.

        It records the strategy's class, its arguments, and where its scorer was loaded from. It can
        be uploaded to the Hub as it is. A README.md that is there already is left alone.

        Args:
            folder: created if missing.

        Raises:
            ValueError: an argument cannot be saved, such as a function or a scorer that was loaded
                from nowhere; or the class could not be imported when the folder is loaded.
        """
        save_strategy(self, Path(folder))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Strategy":
        # Evaluation harnesses deep-copy generation arguments for each batch; a frozen strategy can
        # be shared, and its scorer must not be copied.
        return self


class SolutionReader:
    """Reads the texts of the candidates of one call of ``generate``.

    Args:
        tokenizer: the generator's tokenizer.
        tags: the texts before and after a thought; their special tokens stay in texts.
        in_thought: for each prompt, whether it opened a thought.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, tags: ThinkingTags, in_thought: tuple[bool, ...]
    ) -> None:
        self.tokenizer, self.tags, self.in_thought = tokenizer, tags, in_thought
        self._kept = special_ids(tokenizer, tags)

    def decode(self, ids: Tensor) -> str:
        """Token ids as text, without special tokens but those of the tags."""
        return decode(self.tokenizer, ids, self._kept)

    def candidates(
        self, branches: Sequence[Sequence[Branch]], make_candidate: Callable[..., Candidate]
    ) -> tuple[list[list[Tensor]], list[list[Candidate]]]:
        """The new token ids, (t,) int64, of whole continuations, and the candidates that they are.

        Args:
            branches: the continuations of each prompt.
            make_candidate: called with a text, ``finished=``, ``tokens=`` and ``in_thought=``; see
                ``Selector.candidate``.
        """
        tokens = [[branch.tokens for branch in group] for group in branches]
        candidates: list[list[Candidate]] = []
        for group, opened in zip(branches, self.in_thought, strict=True):
            known = [{"finished": x.finished, "tokens": len(x.tokens)} for x in group]
            texts = [self.decode(x.tokens) for x in group]
            pairs = zip(texts, known, strict=True)
            candidates.append([make_candidate(x, in_thought=opened, **y) for x, y in pairs])
        return tokens, candidates


class TokenBudget:
    """Tokens that may still be sampled for each prompt.

    Args:
        num_prompts: number of prompts.
        max_tokens: tokens for each prompt; ``None``: no limit.
    """

    def __init__(self, num_prompts: int, max_tokens: int | None) -> None:
        self.max_tokens = max_tokens
        self.left = [math.inf if max_tokens is None else max_tokens] * num_prompts

    def allows(self, prompt: int, candidates: int) -> bool:
        """True if this number of candidates can have a token each."""
        return self.left[prompt] >= candidates

    def limit(self, rows: Batch, owners: Sequence[int], n: int = 1) -> None:
        """Lower each row's limit to an equal share of what is left for its prompt.

        Args:
            rows: a batch about to be sampled.
            owners: index of each row's prompt.
            n: candidates to be sampled per row.
        """
        if self.max_tokens is not None:
            shares = [int(self.left[p]) // (n * owners.count(p)) for p in owners]
            rows.remaining_tokens = [
                min(pair) for pair in zip(rows.remaining_tokens, shares, strict=True)
            ]

    def spend(self, prompt: int, branches: Sequence[Branch]) -> None:
        """Subtract the tokens that were sampled."""
        self.left[prompt] -= sum(len(branch.tokens) for branch in branches)


def sample_at_once(generation: Generation, n: int) -> list[list[Branch]]:
    """N whole continuations of each prompt, which is read once."""
    flat = generation.sample(generation.prefill(), n)
    return [flat[start : start + n] for start in range(0, len(flat), n)]


def chosen_sequences(
    generation: Generation, tokens: Sequence[Sequence[Tensor]], traces: Sequence[Trace]
) -> LongTensor:
    """The chosen candidates of each prompt as sequences, (b * k, t) int64.

    Args:
        generation: holds the prompts.
        tokens: new ids, (t,) int64, of each candidate of each prompt.
        traces: one per prompt; ``chosen`` says which candidates to return, k per prompt.
    """
    return generation.pack(
        [(p, tokens[p][i]) for p, trace in enumerate(traces) for i in trace.chosen]
    )


def check_num_sequences(generation: Generation, n: int, largest: int, limited_by: str) -> None:
    """Raise unless n candidates can differ and ``num_return_sequences`` of them can be returned.

    Args:
        generation: the call of ``generate``.
        n: candidates per prompt.
        largest: number of sequences that the strategy can return per prompt.
        limited_by: the argument that sets ``largest`` and what it counts, such as
            "n candidates".

    Raises:
        ValueError: n > 1 without sampling, or more sequences are asked for than there will be.
    """
    name, asked = generation.strategy_name, generation.num_return_sequences
    if n > 1 and not generation.do_sample:
        raise ValueError(
            f"{name} compares n={n} candidates, which greedy decoding makes all alike; pass "
            "do_sample=True (and a temperature) to generate, or n=1"
        )
    if asked > largest:
        raise ValueError(
            f"got num_return_sequences={asked}; {name} returns at most {largest} ({limited_by}). "
            f"Lower it, or raise {limited_by.split(' ')[0]}"
        )
