"""Conversations of data sets as prompts and solutions."""

import re
from collections.abc import Sequence
from typing import Any

from reason_decode.core.messages import Conversation, check_messages
from reason_decode.training.labelled import Label, LabelledSolution
from reason_decode.training.step_labels import verdict

__all__ = ["as_prompt", "labelled_turns", "prompt_end", "question_and_answer", "read_messages"]

_ROLES = {"human": "user", "gpt": "assistant"}  # ShareGPT's names
_FIRST_STEP = re.compile(r"\bstep 1\s*:", re.IGNORECASE)


def read_messages(value: Any) -> list[dict[str, str]]:
    """Turns with ``role`` and ``content``, or with ShareGPT's ``from`` and ``value``.

    Raises:
        ValueError: they are something else.

    Examples:
        >>> read_messages([{"from": "human", "value": "1 + 2?"}])
        [{'role': 'user', 'content': '1 + 2?'}]
    """
    found: list[dict[str, str]] = []
    for turn in value if isinstance(value, list) else [value]:
        if not isinstance(turn, dict):
            raise ValueError(f"got the turn {turn!r:.60}; need an object with role and content")
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            raise ValueError(f"got the turn {turn!r:.60}; need the texts role and content")
        content.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        found.append({"role": _ROLES.get(role, role), "content": content})
    if not found:
        raise ValueError("got a conversation without a turn")
    return found


def as_prompt(turns: list[dict[str, str]]) -> str:
    """A conversation as a prompt: its text if it is one user turn.

    Raises:
        ValueError: it has no user turn.

    Examples:
        >>> as_prompt([{"role": "user", "content": "1 + 2?"}])
        '1 + 2?'
    """
    check_messages(turns)
    return turns[0]["content"] if len(turns) == 1 else Conversation(turns)


def question_and_answer(turns: list[dict[str, str]]) -> tuple[str, str]:
    """The prompt of a conversation, and the answer that is its last turn.

    Raises:
        ValueError: it does not end with an answer of the assistant.

    Examples:
        >>> said = [("user", "1 + 2?"), ("assistant", "3")]
        >>> question_and_answer([{"role": role, "content": text} for role, text in said])
        ('1 + 2?', '3')
    """
    if turns[-1]["role"] != "assistant" or len(turns) < 2:
        raise ValueError(
            f"got a conversation of {', '.join(x['role'] for x in turns)}; need one that ends with "
            "an answer of the assistant"
        )
    return as_prompt(turns[:-1]), turns[-1]["content"]


def labelled_turns(turns: list[dict[str, str]]) -> LabelledSolution | None:
    """The solution of a conversation of steps that are answered by + or -, if it is one.

    Source: RLHFlow/Mistral-PRM-Data; the first user turn is the problem and its first step.

    Examples:
        >>> said = [("user", "1 + 2? Step 1: 1 + 2 = 3"), ("assistant", "+")]
        >>> labelled_turns([{"role": role, "content": text} for role, text in said]).labels
        (1,)
    """
    steps, signs = turns[0::2], turns[1::2]
    if len(turns) % 2 or {x["content"].strip() for x in signs} - {"+", "-"}:
        return None
    first = steps[0]["content"]
    end = prompt_end([first])[1]
    texts = [first[end:], *(x["content"] for x in steps[1:])]
    labels: tuple[Label, ...] = tuple(verdict(x["content"]) for x in signs)
    return LabelledSolution(first[:end].strip(), tuple(x.strip() for x in texts), labels)


def prompt_end(pieces: Sequence[str]) -> tuple[int, int]:
    """The index of the piece in which the prompt ends, and the position of its end there.

    Args:
        pieces: a prompt and its steps, of which the first one begins with "Step 1:".

    Raises:
        ValueError: there is no such step, and not exactly one question mark.

    Examples:
        >>> prompt_end(["1 + 2? Step 1: 3"])
        (0, 7)
    """
    for k, piece in enumerate(pieces):
        if starts := [match.start() for match in _FIRST_STEP.finditer(piece)]:
            return k, starts[-1]
    if pieces[0].count("?") == 1:
        return 0, pieces[0].index("?") + 1
    raise ValueError("the end of the prompt is unclear: no 'Step 1:' and not exactly one '?'")
