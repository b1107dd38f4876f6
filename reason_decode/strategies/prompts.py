"""The prompts that a scorer is asked about: the user's question behind a rendered chat."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.messages import Messages, find_messages, is_rendered, last_question
from reason_decode.models.inputs import decode

__all__ = ["scorer_prompts"]


def scorer_prompts(
    rows: Sequence[Tensor],
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages | Sequence[Messages] | None = None,
    questions: Sequence[str] | None = None,
) -> list[str]:
    """The question of each prompt, as its scorer is asked.

    A prompt that the tokenizer's chat template rendered is taken apart by that template, and its
    last user turn is the question; any other prompt is the question itself, without special tokens.

    Args:
        rows: token ids of each prompt, (t,) int64, without padding.
        tokenizer: the generator's tokenizer.
        messages: the conversation of each prompt, or of the only one; overrules the prompt.
        questions: the question of each prompt; overrules the prompt and ``messages``.

    Raises:
        ValueError: a number of messages or questions that is not that of the prompts.

    Warns:
        UserWarning: a prompt has the marks of a chat template, and it cannot be told which part of
            it is the question.
    """
    if questions is not None:
        return _one_each("questions", list(questions), len(rows))
    if messages is not None:
        one = bool(messages) and isinstance(messages[0], Mapping)
        chats: list[Any] = [messages] if one else list(messages)
        return [last_question(chat) for chat in _one_each("messages", chats, len(rows))]
    texts = [decode(tokenizer, row) for row in rows]
    whole = [str(tokenizer.decode(row)) for row in rows]
    distinct = list(dict.fromkeys(whole))
    chats_of = dict(zip(distinct, find_messages(tokenizer, distinct), strict=True))
    unclear = [x for x in distinct if chats_of[x] is None and is_rendered(tokenizer, x)]
    if unclear:
        warnings.warn(
            f"got a prompt with marks of the chat template ({unclear[0]!r:.80}) from which the "
            "question cannot be told; the scorer is asked about its whole text. Pass "
            "messages=[...] or questions=[...] to generate",
            UserWarning,
            stacklevel=4,
        )
    prompts: list[str] = []
    for text, rendered in zip(texts, whole, strict=True):
        chat = chats_of[rendered]
        prompts.append(text if chat is None else last_question(chat))
    return prompts


def _one_each(name: str, given: list[Any], count: int) -> list[Any]:
    if len(given) != count:
        raise ValueError(f"got {len(given)} {name} for {count} prompts; pass one for each")
    return given
