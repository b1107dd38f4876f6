"""A chat model in this process, as an alternative to an endpoint."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.chat_rendering import apply_template
from reason_decode.io.oom import BatchFailure, run_in_halves
from reason_decode.io.openai_client import Messages, RequestFailed
from reason_decode.models.inputs import input_device, max_positions, pad_rows

__all__ = ["ChatModel"]


class ChatModel:
    """Completes chats by greedy decoding with a model in this process.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of ``model``, with a chat template.
        max_new_tokens: maximum length of an answer, which repeats the document; a longer answer is
            a ``RequestFailed``.
        batch_size: chats per call of ``generate``.

    Raises:
        ValueError: the tokenizer has no chat template.

    Examples:
        >>> from copy import copy
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import ChatModel
        >>> models = tiny.load()
        >>> tokenizer = copy(models.tokenizer)
        >>> tokenizer.chat_template = "{{ messages[-1]['content'] }}"
        >>> complete = ChatModel(models.model, tokenizer, max_new_tokens=2)
        >>> list(complete([[{"role": "user", "content": "Make 24 from 4 6."}]]))
        [RequestFailed(reason='cut off: the answer has more than 2 tokens', retryable=False)]
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int = 4096,
        batch_size: int = 8,
    ) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"got {type(tokenizer).__name__} without a chat template; take a chat model, or "
                "set tokenizer.chat_template"
            )
        own = model.generation_config or GenerationConfig()
        eos = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        self.eos_ids = {eos} if isinstance(eos, int) else set(eos or ())
        self.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.eos_ids) or None,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        )
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size

    def __call__(self, chats: Iterable[Messages]) -> Iterator[str | RequestFailed]:
        """The answers, in order."""
        waiting = iter(chats)
        while group := list(islice(waiting, self.batch_size)):
            ids = [self._encode(chat) for chat in group]
            limit = max_positions(self.model)
            long = [limit is not None and len(row) >= limit for row in ids]
            answers = self._answers([row for row, over in zip(ids, long, strict=True) if not over])
            for row, over in zip(ids, long, strict=True):
                reason = f"too long: {len(row)} tokens, and the model reads {limit}"
                yield RequestFailed(reason) if over else next(answers)

    def _encode(self, chat: Messages) -> list[int]:
        tokenizer: Any = self.tokenizer
        text = apply_template(tokenizer, chat, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def _answers(self, rows: list[list[int]]) -> Iterator[str | RequestFailed]:
        """One answer per row; a batch that runs out of memory is split in halves."""
        for _, found in run_in_halves(self._generate, rows) if rows else ():
            if isinstance(found, BatchFailure):
                yield RequestFailed(found.reason, retryable=True)
            else:
                yield from found

    @torch.no_grad()
    def _generate(self, rows: Sequence[list[int]]) -> list[str | RequestFailed]:
        padding = int(self.generation_config.pad_token_id or 0)
        ids, mask = pad_rows(rows, side="left", value=padding)
        device = input_device(self.model)
        model: Any = self.model  # typed without the generation methods that it has
        sequences = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=self.generation_config,
        )
        return [self._decode(row) for row in sequences[:, ids.shape[1] :].tolist()]

    def _decode(self, row: list[int]) -> str | RequestFailed:
        end = next((k for k, token in enumerate(row) if token in self.eos_ids), None)
        if end is None:
            return RequestFailed(f"cut off: the answer has more than {len(row)} tokens")
        return str(self.tokenizer.decode(row[:end], skip_special_tokens=True))
