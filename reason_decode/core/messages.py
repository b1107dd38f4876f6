"""Conversations and prompts: what a generator is given, and a scorer is asked about."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "Conversation",
    "Message",
    "Messages",
    "Prompt",
    "check_messages",
    "last_question",
    "to_prompts",
    "turns",
]

Message = Mapping[str, str]
Messages = Sequence[Message]
"""Turns with ``role`` (``system``, ``user``, ``assistant``) and ``content``, in order."""
Prompt = str | Messages
"""Text, or a conversation that waits for an answer."""

_FORM = 'such as {"role": "user", "content": "What is 1 + 2?"}'


class Conversation(str):
    """The text of the last user turn, with the conversation that it ends.

    As text it is the problem, which is what most scorers read; those that read whole conversations
    take the turns.

    Args:
        messages: the conversation.
        question: the problem, where the last user turn says more than it, such as instructions.

    Raises:
        ValueError: it has no user turn.

    Examples:
        >>> chat = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "1+1?"}]
        >>> Conversation(chat), len(Conversation(chat).messages)
        ('1+1?', 2)
    """

    messages: Messages

    def __new__(cls, messages: Messages, question: str | None = None) -> "Conversation":
        """The question as a ``Conversation``."""
        self = super().__new__(cls, last_question(messages) if question is None else question)
        self.messages = [dict(message) for message in messages]
        return self

    def __reduce__(self) -> Any:
        return Conversation, (self.messages, str(self))


def to_prompts(prompts: Sequence[Prompt]) -> list[str]:
    """Prompts as texts, conversations as ``Conversation``.

    One text in place of a list, and prompts that are neither, are left for ``check_pairs``.
    """
    if isinstance(prompts, str):
        return prompts  # pyright: ignore[reportReturnType]
    return [
        Conversation(check_messages(x)) if isinstance(x, list | tuple) else x  # pyright: ignore[reportReturnType]
        for x in prompts
    ]


def turns(prompt: str) -> list[dict[str, str]]:
    """The conversation of a prompt: one user turn, unless it is a ``Conversation``."""
    if isinstance(prompt, Conversation):
        return [dict(message) for message in prompt.messages]
    return [{"role": "user", "content": str(prompt)}]


def check_messages(messages: Any) -> Messages:
    """The messages, if they are a conversation that an assistant can continue.

    Args:
        messages: dicts with the texts ``role`` and ``content``, one of them a user's.

    Raises:
        ValueError: they are something else.

    Examples:
        >>> check_messages([{"role": "user", "content": "1 + 2?"}])[0]["content"]
        '1 + 2?'
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise ValueError(f"got the messages {messages!r:.80}; need a list of turns, {_FORM}")
    for turn in messages:
        texts = [turn.get("role"), turn.get("content")] if isinstance(turn, Mapping) else [None]
        if not all(isinstance(text, str) for text in texts) or not texts[0]:
            raise ValueError(f"got the turn {turn!r:.80}; need texts, {_FORM}")
        str(texts[1]).encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    last_question(messages)
    return messages


def last_question(prompt: Prompt) -> str:
    """The text of the last user turn; a prompt that is text is the question itself.

    Args:
        prompt: text or messages.

    Raises:
        ValueError: the conversation has no user turn.
    """
    if isinstance(prompt, str):
        return prompt
    for message in reversed(prompt):
        if message["role"] == "user":
            return message["content"]
    raise ValueError(
        f"got a conversation without a user turn: {[m['role'] for m in prompt]}; the last user "
        "turn is the problem that a scorer is asked about"
    )
