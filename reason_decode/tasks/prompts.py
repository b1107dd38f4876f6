"""Prompts of tasks: the question alone or after solved examples, as text or as a conversation."""

from collections.abc import Sequence

from reason_decode.core.messages import Message, Messages
from reason_decode.tasks.base import QUESTION, Example, Item, Task

__all__ = ["BOXED", "chat_prompt", "text_prompt"]

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
r"""The usual instruction of mathematics: Qwen2.5-Math's, DeepSeek-R1's and others'."""


def chat_prompt(
    task: Task, item: Item, *, system: str | None = None, examples: Sequence[Example] = ()
) -> Messages:
    """The problem as a conversation, with the task's instruction in each user's turn.

    Args:
        task: has the template of a user's turn.
        item: the problem.
        system: text of a system turn, if any.
        examples: solved problems, each a user's turn and the assistant's answer.
    """
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for example in examples:
        messages += [_user_turn(task, example.item), _turn("assistant", example.solution)]
    return [*messages, _user_turn(task, item)]


def text_prompt(item: Item, examples: Sequence[Example] = ()) -> str:
    """The problem as text that a base model continues.

    Args:
        item: the problem.
        examples: solved problems, put before it.
    """
    shown = [f"{example.item.prompt} {example.solution}\n\n" for example in examples]
    return "".join([*shown, item.prompt])


def _user_turn(task: Task, item: Item) -> Message:
    return _turn("user", task.user_template.replace(QUESTION, item.question.strip()))


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
