"""Thoughts in the texts of reasoning models: their tags, and the parts of a text."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from reason_decode.core.chat_rendering import SWITCHES
from reason_decode.core.messages import Conversation

__all__ = [
    "HARMONY",
    "PROMPT_END",
    "THINK",
    "ScorePart",
    "ThinkingTags",
    "answer_of",
    "check_score_part",
    "check_thinking_tags",
    "close_thought",
    "find_thinking_tags",
    "growing_part",
    "opens_thought",
    "part_of",
    "step_parts",
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
PROMPT_END = 64
"""Number of the last tokens of a prompt that hold a tag with which it may end."""
# Tags of a template that is not known: <reasoning>, <seed:think>, <thought>.
_NAMED = re.compile(r"<([\w:]*(?:think|reason|thought)[\w:]*)>", re.IGNORECASE)
_HARMONY_OPENER = "<|start|>assistant"
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


def check_score_part(part: Any) -> None:
    """Raise unless this is a part that can be scored.

    Raises:
        ValueError: it is none.
    """
    if part not in get_args(ScorePart):
        raise ValueError(
            f"got score_part={part!r}; allowed are 'both' (the text as it was generated), 'answer' "
            "(the text behind its thought) and 'thought'"
        )


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
        answer = last["content"] if last["role"] == "assistant" else ""
        return answer.rfind(tags.opening) > answer.rfind(tags.closing)
    return prompt.rstrip().endswith(tags.opening)


def answer_of(text: str, tags: tuple[str, str] = THINK, opened: bool = False) -> str:
    """The text behind the last thought; empty where a thought was opened and never closed.

    Args:
        text: any text.
        tags: the opening and the closing tag of a thought.
        opened: whether the prompt opened a thought, so that the text begins inside one.
    """
    return text[_answer_span(text, tags, opened)]


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
    found = text[_part_span(text, part, tags, opened)]
    if part == "thought":
        return found.strip("\n")
    return found.lstrip("\n") if part == "answer" and tags[1] in text else found


def growing_part(text: str, part: ScorePart, tags: tuple[str, str], opened: bool) -> str:
    """The same part of a text that still grows, with all line breaks behind the tag before it."""
    return text[_part_span(text, part, tags, opened)]


def step_parts(
    steps: Sequence[str], part: ScorePart, tags: tuple[str, str] = THINK, opened: bool = False
) -> list[str]:
    r"""The part of each step that is scored; empty where a step has nothing of it.

    Args:
        steps: the steps of a solution; a tag lies within one of them.
        part: see ``part_of``.
        tags: the opening and the closing tag of a thought.
        opened: whether the prompt opened a thought.

    Examples:
        >>> step_parts(["<think>2 + 3?", "5.</think>", "It is 5."], "thought")
        ['2 + 3?', '5.', '']
    """
    if part == "both":
        return list(steps)
    whole = "".join(steps)
    span = _part_span(whole, part, tags, opened)
    found: list[str] = []
    end = 0
    for step in steps:
        start, end = end, end + len(step)
        found.append(whole[max(start, span.start) : min(end, span.stop)].strip("\n"))
    return found


def _part_span(text: str, part: ScorePart, tags: tuple[str, str], opened: bool) -> slice:
    """The places of a part of a text."""
    if part == "both":
        return slice(0, len(text))
    if part == "answer":
        return _answer_span(text, tags, opened)
    opening, closing = tags
    end = text.rfind(closing) if closing in text else len(text)
    start = text.find(opening, 0, end)
    if start < 0:
        # Without an opening tag a thought begins the text, if there is one.
        return slice(0, end if opened or closing in text else 0)
    if tags == HARMONY:
        end = end - len(_between_channels(text[:end]))
    return slice(start + len(opening), end)


def _answer_span(text: str, tags: tuple[str, str], opened: bool) -> slice:
    opening, closing = tags
    if closing in text:
        start = text.rfind(closing) + len(closing)
    elif opened:
        start = len(text)
    else:
        start = 0
    again = text.find(opening, start)
    return slice(start, len(text) if again < 0 else again)


def _between_channels(text: str) -> str:
    """The end of a text that lies between two channels; special tokens may have been left out."""
    match = _NEXT_CHANNEL.search(text)
    return match[0] if match else ""


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
