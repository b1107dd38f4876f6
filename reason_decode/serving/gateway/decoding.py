"""Records between the gateway and the model: what is to be decoded, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from reason_decode.core.messages import Prompt
from reason_decode.core.options import GenerationOptions
from reason_decode.core.solutions import Cost, Trace

__all__ = ["Backend", "Choice", "DecodeRequest", "Decoded"]

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class DecodeRequest:
    """Prompts that are to be answered, and how.

    Args:
        prompts: texts, or one conversation.
        options: strategy, sampling and scorer; ``max_new_tokens``: tokens of an answer, at most.
        choices: answers of each prompt that are returned.
        stop: texts at which an answer ends.
        seed: seed of the sampling; ``None``: another one each time.
        weighted: whether the scorer weighs votes.
        template_options: further arguments of the chat template.
    """

    prompts: Sequence[Prompt]
    options: GenerationOptions
    choices: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    weighted: bool = False
    template_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """An answer.

    Args:
        text: the answer, up to a stop text.
        finish_reason: "stop" if it ended by itself or at a stop text, else "length".
        tokens: tokens sampled for it.
        score: what the strategy ranked by; ``None`` without a scorer.
        agreement: share of the vote; ``None`` without a vote.
        answer: the final answer that a vote read; ``None`` without one.
    """

    text: str
    finish_reason: FinishReason
    tokens: int
    score: float | None = None
    agreement: float | None = None
    answer: str | None = None


@dataclass(frozen=True)
class Decoded:
    """Answers to a request.

    Args:
        choices: the answers of each prompt, the best first.
        prompt_tokens: tokens of the prompts, each counted once.
        cost: tokens through forward passes.
        traces: the trace of each prompt; empty without a strategy.
    """

    choices: Sequence[Sequence[Choice]]
    prompt_tokens: int
    cost: Cost
    traces: Sequence[Trace] = ()


class Backend(Protocol):
    """Decodes requests: a model in this process, or a server."""

    @property
    def chat(self) -> bool:
        """True if conversations can be answered."""
        ...

    @property
    def has_scorer(self) -> bool:
        """True if strategies that score can be used."""
        ...

    @property
    def threads(self) -> int:
        """Number of requests that can be decoded side by side."""
        ...

    def prepare(self, request: DecodeRequest) -> Any:
        """A request that is checked, and ready to be decoded; called in a thread beside it.

        Raises:
            ValueError: it cannot be decoded.
        """
        ...

    def decode(
        self, prepared: Any, check: Callable[[], None], emit: Callable[[str], None] | None
    ) -> Decoded:
        """The answers to a prepared request.

        Args:
            prepared: what ``prepare`` returned.
            check: raises an exception if the answer is no longer wanted.
            emit: called with each new text of the only answer, as soon as it is decided.

        Raises:
            ValueError: the request cannot be decoded.
            ConnectionError: a server that is needed does not answer.
        """
        ...
