"""A model that is no module here: at a server, or in an engine of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import LongTensor, Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from reason_decode.core.messages import Messages
from reason_decode.generation.output import ReasoningOutput
from reason_decode.serving.generation import ServedGeneration
from reason_decode.serving.requests import Transport
from reason_decode.serving.servers import Server
from reason_decode.serving.text_ids import TextIds
from reason_decode.strategies.base import Strategy
from reason_decode.strategies.chat import to_conversations

__all__ = ["EngineModel"]

_DRAWING = ("temperature", "top_p", "top_k", "min_p")


class EngineModel(ABC):
    """A model that strategies take in the place of one of transformers, by requests to an engine.

    A subclass says what the engine can do, ``server``, and how requests reach it, ``_transport``.

    Args:
        name: the model's name at the engine.
        tokenizer: the model's tokenizer.
        seeds: send a seed with each request.
        extra_body: fields to add to every request.

    Attributes:
        generation_config: has the tokenizer's end of sequence, and no length.
    """

    def __init__(
        self,
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seeds: bool = True,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.tokenizer, self.seeds = name, tokenizer, seeds
        self.extra_body = dict(extra_body or {})
        self.text_ids = TextIds(tokenizer)
        self.generation_config = GenerationConfig(
            eos_token_id=self.text_ids.end, pad_token_id=self.text_ids.pad_token_id
        )

    @property
    @abstractmethod
    def server(self) -> Server:
        """The abilities of the engine."""

    @abstractmethod
    def _transport(self) -> Transport:
        """The way of requests, for one call."""

    @property
    def device(self) -> torch.device:
        """The device of token ids: the CPU."""
        return torch.device("cpu")

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        custom_generate: Strategy | None = None,
        max_new_tokens: int = 1024,
        do_sample: bool = False,
        num_return_sequences: int = 1,
        stop_strings: str | Sequence[str] | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        pad_token_id: int | None = None,
        messages: Messages | Sequence[Messages] | None = None,
        questions: Sequence[str] | None = None,
        return_dict_in_generate: bool = False,
        check: Callable[[], None] | None = None,
        **options: Any,
    ) -> LongTensor | ReasoningOutput:
        """Continue prompts, as ``generate`` of transformers does.

        Args:
            input_ids: (b, t) int64, padded on the left.
            attention_mask: (b, t), 1 at the ids of the prompts.
            custom_generate: a strategy; ``None``: plain sampling or greedy decoding.
            max_new_tokens: most new tokens of a sequence.
            do_sample: draw tokens; else take the likeliest.
            num_return_sequences: sequences to return for each prompt.
            stop_strings: texts that end an answer.
            tokenizer: not needed; ``generate`` of transformers wants it beside ``stop_strings``.
            pad_token_id: not needed; rows are filled with the tokenizer's.
            messages: the conversation behind each prompt; see ``Strategy.__call__``.
            questions: the question of each prompt; see ``Strategy.__call__``.
            return_dict_in_generate: return a ``ReasoningOutput`` with traces and cost.
            check: called while requests are under way; raises where the answer is no longer wanted,
                and the requests are ended.
            options: ``temperature``, ``top_p``, ``top_k``, ``min_p``, ``repetition_penalty``.

        Returns:
            Sequences (b * k, t) int64, prompt included, padded on the right.

        Raises:
            ValueError: a server cannot do what an option asks for.
            ConnectionError: a server is down, or refuses.
            ItemError: a server cannot continue one of the prompts.
        """
        strategy: Any = custom_generate
        if strategy is not None and not isinstance(strategy, Strategy):
            raise ValueError(
                f"got custom_generate={strategy!r:.80} for a model at a server; pass a strategy, "
                "such as BestOfN(...)"
            )
        stops = [stop_strings] if isinstance(stop_strings, str) else list(stop_strings or ())
        generation = ServedGeneration(
            "generate" if strategy is None else type(strategy).__name__,
            self,
            self.server,
            self._transport(),
            self.text_ids,
            input_ids.cpu(),
            None if attention_mask is None else attention_mask.cpu(),
            max_new_tokens=max_new_tokens,
            num_return_sequences=num_return_sequences,
            do_sample=do_sample,
            options={**self._sampling_fields(do_sample, options), **self.extra_body},
            seeds=self.seeds,
            stop_strings=stops,
            streamer=None if strategy is None else strategy.streamer,
            check=check,
            chats=None if messages is None else to_conversations(messages)[0],
        )
        if strategy is not None:
            with torch.no_grad():  # scorers run here
                output = strategy.decode(generation, messages=messages, questions=questions)
        else:
            branches = generation.sample(generation.prefill(), num_return_sequences)
            rows = [(k // num_return_sequences, x.tokens) for k, x in enumerate(branches)]
            output = ReasoningOutput(sequences=generation.pack(rows), cost=generation.cost)
        return output if return_dict_in_generate else output.sequences

    def _sampling_fields(self, do_sample: bool, options: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of requests that say how tokens are drawn.

        Raises:
            ValueError: an option is none of these.
        """
        allowed = (*_DRAWING, "repetition_penalty")
        for name, value in options.items():
            if name not in allowed and value is not None:
                raise ValueError(
                    f"got {name}={value!r:.60} for a model at a server, which takes "
                    f"{', '.join(allowed)}; drop it, or send a field of the server's own as "
                    "ServedModel(extra_body=...)"
                )
        given = {
            name: value
            for name, value in options.items()
            if value is not None and (do_sample or name not in _DRAWING)
        }
        names, neutral = self.server.names, self.server.all_tokens
        fields = {names.get(name, name): value for name, value in given.items()}
        if fields.get("top_k") == 0:  # in transformers: all tokens
            del fields["top_k"]
            fields |= {name: value for name, value in neutral.items() if name not in fields}
        return fields
