"""Conversations as text, by the chat template of a tokenizer."""

from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from reason_decode.core.chat_rendering import apply_template
from reason_decode.core.messages import Messages

__all__ = ["has_chat_template", "render_chat"]

_PROBE = "probe"


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if the tokenizer has a chat template that writes marks around a user's turn.

    A template that renders a user's turn as its bare text, as that of the packaged models does,
    makes no difference between text and a conversation.

    Args:
        tokenizer: any tokenizer.
    """
    if not getattr(tokenizer, "chat_template", None):
        return False
    text = render_chat(tokenizer, [{"role": "user", "content": _PROBE}])
    return text.strip() != _PROBE


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    messages: Messages,
    *,
    generate: bool = True,
    **chat_template_kwargs: Any,
) -> str:
    """A conversation as text, by the tokenizer's chat template.

    Args:
        tokenizer: has a chat template.
        messages: dicts with ``role`` and ``content``. A last turn of the assistant is left open
            where ``generate`` is true, so that the model continues it.
        generate: whether to append the beginning of the assistant's answer.
        chat_template_kwargs: further arguments of the template, such as ``enable_thinking=False``.

    Raises:
        ValueError: there is no template, or it refuses the messages, leaves out one of them, fails,
            or takes more than 10 seconds.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            "got a conversation, and the tokenizer has no chat template to render it; pass a text "
            "prompt, the tokenizer of an instruct model, or set tokenizer.chat_template"
        )
    opened = generate and messages[-1]["role"] == "assistant"
    try:
        text = apply_template(
            tokenizer,
            messages,
            add_generation_prompt=generate and not opened,
            **({"continue_final_message": True} if opened else {}),
            **chat_template_kwargs,
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(
            f"the tokenizer's chat template refuses the turns {roles} ({error}); pass the "
            "tokenizer that belongs to the model, leave out the turn that it refuses, repair "
            "tokenizer.chat_template, or use plain text (chat=False, where there is the choice)"
        ) from error
    except ImportError:
        raise
    except Exception as error:  # a template may raise anything
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        raise ValueError(
            f"the chat template of {name} cannot be used ({type(error).__name__}: {error}); pass "
            "the tokenizer that belongs to the model, repair tokenizer.chat_template, or use plain "
            "text (chat=False, where there is the choice)"
        ) from error
    _check_complete(text, messages)
    return text


def _check_complete(text: str, messages: Messages) -> None:
    """Raise if a template left a message out: the model would read another conversation.

    Templates may trim messages, and remove the thinking before an answer, so only the last line of
    each has to be there.
    """
    for message in messages:
        lines = message["content"].rpartition("</think>")[2].strip().splitlines()
        if lines and lines[-1].strip() not in text:
            raise ValueError(
                f"the tokenizer's chat template drops or changes the {message['role']}'s turn "
                f"{message['content'][:60]!r}; pass the tokenizer that belongs to the model, leave "
                "the turn out, or repair tokenizer.chat_template"
            )
