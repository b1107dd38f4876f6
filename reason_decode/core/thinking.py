"""Thoughts in the texts of reasoning models: their tags, and the parts of a text."""

import re
from typing import Any, Literal, NamedTuple

from reason_decode.core.chat_rendering import SWITCHES
from reason_decode.core.messages import Conversation

__all__ = [
    "HARMONY",
    "THINK",
    "ScorePart",
    "ThinkingTags",
    "answer_of",
    "check_thinking_tags",
    "close_thought",
    "find_thinking_tags",
    "opens_thought",
    "part_of",
    "switches_off",
]

ScorePart = Literal["both", "answer", "thought"]
"""The part of a solution that is scored: all of it, the part behind its thought, or the thought."""


class ThinkingTags(NamedTuple):
    """The texts before and after a thought."""

    opening: str = "<think>"
    closing: str = "</think>"


THINK = ThinkingTags()
HARMONY = ThinkingTags("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
"""Channels of gpt-oss; a model opens the next one itself, so that what closes a thought opens the
final channel."""
_KNOWN = (
    HARMONY,
    ThinkingTags("[THINK]", "[/THINK]"),
    ThinkingTags("<|channel>thought", "<channel|>"),
    THINK,
)
# Tags of a template that is not known: <reasoning>, <seed:think>, <thought>.
_NAMED = re.compile(r"<([\w:]*(?:think|reason|thought)[\w:]*)>", re.IGNORECASE)
_HARMONY_OPENER = "<|start|>assistant"
# Between two channels; special tokens may have been left out.
_NEXT_CHANNEL = re.compile(r"(?:<\|end\|>)?(?:<\|start\|>)?assistant$")


def find_thinking_tags(tokenizer: Any) -> ThinkingTags:
    """The tags of thoughts that a tokenizer's chat template has; else ``<think>`` and ``</think>``.

    Known are ``<think>``, ``[THINK]``, the channels of gpt-oss and Gemma 4, and tags with
    ``think``, ``thought`` or ``reason`` in their names.

    Args:
        tokenizer: may have a ``chat_template``.
    """
    source = str(getattr(tokenizer, "chat_template", None) or "")
    for tags in _KNOWN:
        if tags.opening in source or tags.closing in source:
            return tags
    named = _NAMED.search(source)
    return THINK if named is None else ThinkingTags(f"<{named[1]}>", f"</{named[1]}>")


def check_thinking_tags(tags: Any) -> ThinkingTags | None:
    """The pair of texts as ``ThinkingTags``; ``None`` stays ``None``.

    Raises:
        ValueError: it is something else.
    """
    if tags is None:
        return None
    if (
        isinstance(tags, str)
        or len(tags) != 2
        or not all(isinstance(tag, str) and tag for tag in tags)
    ):
        raise ValueError(
            f"got thinking_tags={tags!r:.80}; pass the texts before and after a thought, such as "
            "('<think>', '</think>')"
        )
    return ThinkingTags(*tags)


def opens_thought(prompt: str, tags: ThinkingTags) -> bool:
    """True if a prompt ends inside a thought, which the completion then continues.

    Args:
        prompt: rendered, with its special tokens; or a ``Conversation``, whose last turn may be the
            beginning of an answer.
        tags: the tags of a thought.
    """
    if isinstance(prompt, Conversation):
        last = prompt.messages[-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        return begun.rfind(tags.opening) > begun.rfind(tags.closing)
    return prompt.rstrip().endswith(tags.opening)


def answer_of(text: str, tags: tuple[str, str] = THINK, opened: bool = False) -> str:
    """The text behind the last thought; empty where a thought was opened and never closed.

    Args:
        text: any text.
        tags: the opening and the closing tag of a thought.
        opened: whether the prompt opened a thought, so that the text begins inside one.
    """
    opening, closing = tags
    if opened and closing not in text:
        return ""
    answer = text.rpartition(closing)[2] if closing in text else text
    return answer.partition(opening)[0] if opening in answer else answer


def part_of(text: str, part: ScorePart, tags: tuple[str, str] = THINK, opened: bool = False) -> str:
    r"""The part of a text that is scored, without tags and the line breaks beside them.

    Args:
        text: a solution.
        part: all of it as it stands, what follows its thought, or the thought.
        tags: the opening and the closing tag of a thought.
        opened: whether the prompt opened a thought, so that the text begins inside one.

    Examples:
        >>> text = "<think>\n2 + 3?\n</think>\n\nIt is 5."
        >>> part_of(text, "answer"), part_of(text, "thought")
        ('It is 5.', '2 + 3?')
    """
    if part == "both":
        return text
    opening, closing = tags
    answer = answer_of(text, tags, opened)
    if part == "answer":
        return answer.lstrip("\n") if closing in text else answer
    thought = text.rpartition(closing)[0] if closing in text else text
    if opening in thought:
        thought = thought.partition(opening)[2]
    elif not opened and closing not in text:
        return ""
    if tags == HARMONY:
        thought = _NEXT_CHANNEL.sub("", thought)
    return thought.strip("\n")


def close_thought(rendered: str, tags: ThinkingTags) -> str:
    """A rendered generation prompt behind which the answer follows at once.

    A thought that it opens is closed; the channel of the answer is opened where a model would
    choose one.

    Args:
        rendered: a conversation, by a chat template, with the beginning of the answer.
        tags: the tags of a thought.
    """
    if tags == HARMONY and rendered.endswith(_HARMONY_OPENER):
        return rendered + tags.closing
    if not opens_thought(rendered, tags):
        return rendered
    return f"{rendered.rstrip()}\n\n{tags.closing}\n\n"


def switches_off(tokenizer: Any) -> dict[str, bool]:
    """Arguments that switch thinking off in a tokenizer's chat template; none where it has none.

    Args:
        tokenizer: may have a ``chat_template``.
    """
    source = str(getattr(tokenizer, "chat_template", None) or "")
    return {name: False for name in SWITCHES if re.search(rf"\b{name}\b", source)}
