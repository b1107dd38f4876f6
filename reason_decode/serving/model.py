"""A model at an OpenAI-compatible server, which strategies take in the place of one loaded here."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import LongTensor, Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from reason_decode.core.messages import Messages
from reason_decode.core.options import ServerName
from reason_decode.generation.output import ReasoningOutput
from reason_decode.io.completions import CompletionEndpoint
from reason_decode.io.http import TOTAL_TIMEOUT
from reason_decode.serving.generation import ServedGeneration
from reason_decode.serving.servers import SERVERS, Server, check_server, find_server
from reason_decode.serving.text_ids import TextIds
from reason_decode.strategies.base import Strategy

__all__ = ["ServedModel"]

_DRAWING = ("temperature", "top_p", "top_k", "min_p")


class ServedModel:
    r"""A model at an OpenAI-compatible server, for ``strategy.chat(model, messages)``.

    Strategies sample from it step by step, as from a model of transformers, by ``POST
    /completions``; scorers run here. Prompts are rendered here, by the tokenizer. Options of
    ``generate`` that a call leaves out are the server's. A call draws the seeds of its requests
    from torch's random state, so that ``torch.manual_seed`` repeats it where the server keeps to
    seeds. Where a request fails, the others of the call are cancelled.

    Args:
        urls: address of the server, such as ``http://localhost:8000/v1``; or several, which share
            the prompts of a batch.
        name: the model's name at the server.
        tokenizer: the model's tokenizer.
        server: kind of server: "vllm", "sglang", "llama.cpp", "transformers", or "openai" for any
            other; "auto": as its ``/models`` says.
        concurrency: requests at a time, for each address.
        seeds: send a seed with each request.
        api_key_env: environment variable that holds the API key.
        attempts: attempts at one request.
        timeout: seconds without a byte from the server after which an attempt fails.
        total_timeout: seconds after which an attempt fails, whatever has come.
        extra_body: fields to add to every request, such as ``{"top_k": 20}``.
        sleep: function that waits for a number of seconds between attempts; for tests.

    Attributes:
        generation_config: has the tokenizer's end of sequence, and no length.

    Raises:
        ValueError: an address or a number is not allowed.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.serving import ServedModel
        >>> model = ServedModel("http://localhost:8000/v1", "tiny", tiny.load().tokenizer)
        >>> model.name
        'tiny'
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        server: ServerName = "auto",
        concurrency: int = 8,
        seeds: bool = True,
        api_key_env: str = "OPENAI_API_KEY",
        attempts: int = 6,
        timeout: float = 600.0,
        total_timeout: float = TOTAL_TIMEOUT,
        extra_body: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.urls = (urls,) if isinstance(urls, str) else tuple(urls)
        self.name, self.tokenizer, self.seeds = name, tokenizer, seeds
        self.extra_body = dict(extra_body or {})
        check_server(server)
        self._kind = server
        self._options: dict[str, Any] = {
            "api_key_env": api_key_env,
            "concurrency": concurrency,
            "attempts": attempts,
            "timeout": timeout,
            "total_timeout": total_timeout,
            "sleep": sleep,
        }
        if not self._endpoints():
            raise ValueError("got no address of a server; pass at least one")
        self.text_ids = TextIds(tokenizer)
        self.generation_config = GenerationConfig(
            eos_token_id=self.text_ids.end, pad_token_id=self.text_ids.pad_token_id
        )

    @property
    def device(self) -> torch.device:
        """The device of token ids: the CPU."""
        return torch.device("cpu")

    @cached_property
    def server(self) -> Server:
        """The abilities of the servers; the first of them is asked.

        Raises:
            ConnectionError: it is down.
        """
        if self._kind != "auto":
            return SERVERS[self._kind]
        options = self._options
        return find_server(self.urls[0], options["api_key_env"], options["timeout"])

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
            self._endpoints(),
            self._options["concurrency"] * len(self.urls),
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
        )
        if strategy is not None:
            with torch.no_grad():  # scorers run here
                output = strategy.decode(generation, messages=messages, questions=questions)
        else:
            branches = generation.sample(generation.prefill(), num_return_sequences)
            rows = [(k // num_return_sequences, x.tokens) for k, x in enumerate(branches)]
            output = ReasoningOutput(sequences=generation.pack(rows), cost=generation.cost)
        return output if return_dict_in_generate else output.sequences

    def _endpoints(self) -> list[CompletionEndpoint]:
        """An endpoint of each server, for one call: they are closed where it fails."""
        return [CompletionEndpoint(url, self.name, **self._options) for url in self.urls]

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
