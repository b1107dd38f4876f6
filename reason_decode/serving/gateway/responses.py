"""Answers in the form of OpenAI's API: completions, chunks of a stream, usage, models."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from reason_decode.serving.gateway.decoding import Choice, Decoded

__all__ = ["DONE", "Response", "event", "model_list", "usage_of"]

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Response:
    """The response to one request.

    Args:
        model: the model's name in the request.
        chat: whether it is a chat completion.
        id: names the response and its trace.
        created: seconds since 1970.
    """

    model: str
    chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        if not self.id:
            prefix = "chatcmpl" if self.chat else "cmpl"
            object.__setattr__(self, "id", f"{prefix}-{uuid.uuid4().hex}")

    def body(self, decoded: Decoded) -> dict[str, Any]:
        """The whole response."""
        kind = "chat.completion" if self.chat else "text_completion"
        choices = [self._choice(k, one) for k, one in enumerate(_flat(decoded))]
        return {**self._head(kind), "choices": choices, "usage": usage_of(decoded)}

    def opening(self, choices: int) -> list[dict[str, Any]]:
        """The first chunks of a stream: the role, in a chat."""
        if not self.chat:
            return []
        delta = {"role": "assistant", "content": ""}
        return [self._chunk(k, delta, None) for k in range(choices)]

    def delta(self, text: str, index: int = 0) -> dict[str, Any]:
        """A chunk with new text of a choice."""
        return self._chunk(index, {"content": text} if self.chat else text, None)

    def closing(self, decoded: Decoded, sent: int, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The last chunks of a stream: what was not sent yet, the ends, the usage.

        Args:
            decoded: the answers.
            sent: number of characters of the only choice that were sent already.
            include_usage: whether to add the usage.
        """
        for k, one in enumerate(_flat(decoded)):
            rest = one.text[sent:] if k == 0 else one.text
            if rest:
                yield self.delta(rest, k)
            yield self._chunk(k, {} if self.chat else "", one.finish_reason, one)
        if include_usage:
            yield {**self._head(self._chunk_kind), "choices": [], "usage": usage_of(decoded)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        text: dict[str, Any] = {"text": choice.text}
        if self.chat:
            text = {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
        return {"index": index, **text, **_end(choice.finish_reason, choice)}

    def _chunk(
        self, index: int, delta: Any, finish_reason: str | None, choice: Choice | None = None
    ) -> dict[str, Any]:
        piece = {"delta" if self.chat else "text": delta}
        choices = [{"index": index, **piece, **_end(finish_reason, choice)}]
        return {**self._head(self._chunk_kind), "choices": choices}


def usage_of(decoded: Decoded) -> dict[str, Any]:
    """Tokens of prompts and returned answers, and all that the strategy read and sampled."""
    completion = sum(choice.tokens for choice in _flat(decoded))
    return {
        "prompt_tokens": decoded.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": decoded.prompt_tokens + completion,
        "reason_decode": decoded.cost.to_dict(),
    }


def model_list(names: Sequence[str], created: int) -> list[dict[str, Any]]:
    """The entries of ``/v1/models``."""
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "reason-decode"}
        for name in names
    ]


def event(data: dict[str, Any]) -> str:
    """A server-sent event; JSON of ASCII letters has no line ends."""
    return f"data: {json.dumps(data)}\n\n"


def _flat(decoded: Decoded) -> list[Choice]:
    return [choice for group in decoded.choices for choice in group]


def _end(finish_reason: str | None, choice: Choice | None) -> dict[str, Any]:
    """Fields that say how a choice ended, and how it was chosen."""
    end: dict[str, Any] = {"finish_reason": finish_reason, "logprobs": None}
    if choice is not None:
        names = ("score", "agreement", "answer")
        found = {name: getattr(choice, name) for name in names}
        end["reason_decode"] = {name: x for name, x in found.items() if x is not None}
    return end
