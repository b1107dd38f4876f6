"""From a model and a conversation, or a text, to an answer: the calls ``chat`` and ``complete``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.core.answers import extract_answer
from reason_decode.core.messages import Messages, Prompt, check_messages
from reason_decode.core.solutions import Trace
from reason_decode.core.thinking import ThinkingTags, answer_of
from reason_decode.generation.interface import Generator
from reason_decode.models.inputs import encode_prompts, input_device

__all__ = ["Response", "add_system", "respond", "to_conversations"]

MAX_NEW_TOKENS = 1024
"""Length of an answer, where neither the caller nor the model's generation config sets one."""


@dataclass(frozen=True)
class Response:
    r"""A model's response to one prompt, as a strategy chose it.

    Args:
        text: the response, without special tokens.
        answer: the final answer that the text states; ``None`` if it states none.
        total: the score of the response; ``None`` where the strategy has no scorer.
        confidence: share of the vote that went to the answer, in [0, 1]; ``None`` where the
            strategy holds no vote, or nobody voted.
        trace: all candidates, and the choice.

    Examples:
        >>> from reason_decode import BestOfN, tiny
        >>> t = tiny.load()
        >>> best = BestOfN(t.verifier, tokenizer=t.tokenizer, n=4)
        >>> response = best.complete(t.model, "Make 24 from 4 5 6 10.\n")
        >>> response.text == response.trace.best.text, response.total == response.trace.best.total
        (True, True)
    """

    text: str
    answer: str | None
    total: float | None
    confidence: float | None
    trace: Trace


def respond(
    strategy: Any,
    model: Generator,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Response]:
    """The responses of a model to a batch of prompts.

    Args:
        strategy: the decoding strategy.
        model: the generator.
        tokenizer: the tokenizer of ``model``.
        prompts: texts, or conversations.
        chat_template_kwargs: further arguments of the chat template.
        options: arguments of ``generate``. Sampling is on, and ``max_new_tokens`` is 1024, unless
            an option, or the model's generation config for the length, says otherwise.

    Raises:
        ValueError: a conversation cannot be rendered, or the strategy refuses an option.
    """
    inputs = encode_prompts(tokenizer, prompts, chat_template_kwargs=chat_template_kwargs)
    if all(not isinstance(prompt, str) for prompt in prompts):
        options.setdefault("messages", list(prompts))
    if "generation_config" not in options:
        options.setdefault("do_sample", True)
        if model.generation_config.max_new_tokens is None and "max_length" not in options:
            options.setdefault("max_new_tokens", MAX_NEW_TOKENS)
    output = model.generate(
        **{name: x.to(input_device(model)) for name, x in inputs.items()},
        **options,
        return_dict_in_generate=True,
        custom_generate=strategy,
    )
    return [_response(trace, strategy.tags) for trace in output.traces]


def to_conversations(messages: Any, system: str | None = None) -> tuple[list[Messages], bool]:
    """Conversations, and whether they are a batch.

    Args:
        messages: a user's text, a conversation, or a list of either, which is a batch.
        system: text of a system turn, put before conversations that have none.

    Raises:
        ValueError: it is something else, or there is a system turn already.
    """
    is_turn = isinstance(messages, Sequence) and messages and isinstance(messages[0], Mapping)
    one = isinstance(messages, str) or is_turn
    if not one and (not isinstance(messages, Sequence) or not messages):
        raise ValueError(
            f"got the messages {messages!r:.80}; pass a text, a conversation such as "
            '[{"role": "user", "content": "What is 1 + 2?"}], or a list of either'
        )
    chats: list[Any] = [messages] if one else list(messages)
    turns = [[{"role": "user", "content": x}] if isinstance(x, str) else x for x in chats]
    return [add_system(check_messages(chat), system) for chat in turns], not one


def add_system(messages: Messages, system: str | None) -> Messages:
    """A conversation that begins with a system turn; as it is where ``system`` is ``None``.

    Raises:
        ValueError: it has a system turn already.
    """
    if system is None:
        return messages
    if messages[0]["role"] == "system":
        raise ValueError(
            f"got system={system!r:.40} for a conversation that begins with a system turn; give one"
        )
    return [{"role": "system", "content": system}, *messages]


def _response(trace: Trace, tags: ThinkingTags) -> Response:
    best = trace.best
    stated = answer_of(best.text, tags, best.in_thought)
    answer = extract_answer(stated) if best.answer is None else best.answer
    return Response(best.text, answer, best.total, trace.agreement, trace)
