"""Bodies of requests in the form of OpenAI's API, checked; unknown fields are refused."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reason_decode.core.chat_rendering import SWITCHES
from reason_decode.core.messages import Messages, check_messages
from reason_decode.core.options import Reduce, StrategyName, Supervision
from reason_decode.core.solutions import check_text
from reason_decode.core.voting import VoteWeighting

__all__ = ["ChatRequest", "CompletionRequest", "SamplingRequest", "describe_errors"]

MAX_STOP = 16
# Fields of OpenAI's API that do not change an answer.
_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
    *("parallel_tool_calls", "verbosity", "prompt_cache_retention"),
}
# Fields that would change an answer: their values that ask for nothing, and what to do instead.
_UNSUPPORTED: dict[str, tuple[Sequence[Any], str]] = {
    "tools": (([],), "tool calls are not supported; leave it out"),
    "tool_choice": (("none", "auto"), "tool calls are not supported; leave it out"),
    "functions": (([],), "tool calls are not supported; leave it out"),
    "function_call": (("none", "auto"), "tool calls are not supported; leave it out"),
    "response_format": (
        ({"type": "text"},),
        "structured outputs are not served; use StructuredStepsLogitsProcessor in Python",
    ),
    "logprobs": ((False, 0), "log-probabilities are not returned; leave it out"),
    "top_logprobs": ((0,), "log-probabilities are not returned; leave it out"),
    "prompt_logprobs": ((0,), "log-probabilities are not returned; leave it out"),
    "logit_bias": (({},), "leave it out"),
    "presence_penalty": ((0,), "use repetition_penalty"),
    "frequency_penalty": ((0,), "use repetition_penalty"),
    "best_of": ((1,), "name a strategy in model, such as best-of-8/NAME"),
    "echo": ((False,), "leave it out"),
    "suffix": (("",), "leave it out"),
    "modalities": ((["text"],), "only text is served"),
    "audio": ((), "only text is served"),
    "prediction": ((), "leave it out"),
    "reasoning_effort": ((), "use chat_template_kwargs, such as enable_thinking"),
    "web_search_options": ((), "leave it out"),
}
_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StrategyFields(BaseModel):
    """Options of a request under ``reason_decode``; see ``GenerationOptions``.

    ``weighted``: the scorer weighs the votes.
    """

    model_config = _CONFIG
    strategy: StrategyName | None = None
    n: int | None = None
    beam_width: int | None = None
    subtrees: int | None = None
    margin: float | None = None
    lookahead: int | None = Field(None, ge=0)
    supervision: Supervision | None = None
    reduce: Reduce | None = None
    score_temperature: float | None = None
    vote_weighting: VoteWeighting | None = None
    vote_top: float | None = None
    early_stop: Literal["decided"] | float | None = None
    max_tokens: int | None = None
    weighted: bool | None = None


class StreamOptions(BaseModel):
    """Options of a stream."""

    model_config = _CONFIG
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingRequest(BaseModel):
    """The fields that both kinds of requests have; see OpenAI's API.

    ``top_k``, ``min_p`` and ``repetition_penalty`` are those of transformers, as in vLLM.
    """

    model_config = _CONFIG
    model: str
    n: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    max_tokens: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    reason_decode: StrategyFields | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_unsupported(cls, body: Any) -> Any:
        """The body without the fields that ask for nothing."""
        if not isinstance(body, Mapping):
            raise ValueError("need a JSON object")
        left = {}
        for name, value in body.items():
            if name in _IGNORED:
                continue
            if name in _UNSUPPORTED:
                neutral, instead = _UNSUPPORTED[name]
                if value is not None and value not in neutral:
                    raise ValueError(f"got {name}={value!r:.80}; {instead}")
                continue
            left[name] = value
        return left

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, value: Any) -> list[str]:
        texts = [] if value is None else [value] if isinstance(value, str) else value
        right = isinstance(texts, list) and len(texts) <= MAX_STOP
        if not right or not all(isinstance(x, str) and 0 < len(x) <= 256 for x in texts):
            raise ValueError(
                f"got {value!r:.80}; need a text, or a list of up to {MAX_STOP}, each of 1 to 256 "
                "characters"
            )
        for text in texts:
            check_text(text, "a stop text")
        return texts

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return tuple(self.stop or ())

    @property
    def strategy_options(self) -> dict[str, Any]:
        """The options of the strategy that the request gives under ``reason_decode``."""
        given = self.reason_decode
        return {} if given is None else given.model_dump(exclude_none=True)

    @property
    def sampling_options(self) -> dict[str, Any]:
        """The options of sampling that the request gives."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        given = {name: getattr(self, name) for name in names}
        if given["top_k"] == -1:
            given["top_k"] = 0  # all tokens, in the words of vLLM and of transformers
        return {name: value for name, value in given.items() if value is not None}

    @property
    def token_limit(self) -> int | None:
        """Tokens of an answer, at most; ``None`` where the request does not say."""
        return self.max_tokens

    @property
    def template_options(self) -> dict[str, bool]:
        """Further arguments of the chat template."""
        return {}


class ChatRequest(SamplingRequest):
    """The body of ``POST /v1/chat/completions``.

    Of ``chat_template_kwargs`` only the switches of thinking are taken: others could replace the
    template.
    """

    messages: Any
    max_completion_tokens: int | None = Field(None, ge=1)
    chat_template_kwargs: dict[str, bool] | None = None

    @field_validator("messages")
    @classmethod
    def _check_messages(cls, value: Any) -> Messages:
        if not isinstance(value, list):
            raise ValueError(f"got {value!r:.80}; need a list of turns")
        return check_messages([_turn(one) for one in value])

    @field_validator("chat_template_kwargs")
    @classmethod
    def _check_switches(cls, value: dict[str, bool] | None) -> dict[str, bool] | None:
        for name in value or {}:
            if name not in SWITCHES:
                raise ValueError(f"got {name!r:.80}; allowed are {' and '.join(SWITCHES)}")
        return value

    @property
    def token_limit(self) -> int | None:
        """Tokens of an answer, at most; the newer of the two names counts."""
        newer = self.max_completion_tokens
        return self.max_tokens if newer is None else newer

    @property
    def template_options(self) -> dict[str, bool]:
        """Further arguments of the chat template."""
        return dict(self.chat_template_kwargs or {})


class CompletionRequest(SamplingRequest):
    """The body of ``POST /v1/completions``."""

    prompt: Any

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, value: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts:
            raise ValueError(f"got {value!r:.80}; need a text or a list of texts")
        for text in texts:
            if not isinstance(text, str) or not text:
                raise ValueError(f"got {text!r:.80}; need texts, not token ids, and none empty")
            check_text(text, "a prompt")
        return texts


def describe_errors(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """The first errors of a body in words, and the field of the first.

    Args:
        errors: as pydantic lists them.
    """
    words: list[str] = []
    for error in errors[:3]:
        place = ".".join(str(part) for part in error["loc"] if part != "body")
        text = str(error["msg"]).removeprefix("Value error, ")
        kind = error["type"]
        if kind == "extra_forbidden":
            text = "there is no such field"
        elif kind == "missing":
            text = "the field is missing"
        elif kind == "json_invalid":
            place, text = "", f"the body is no JSON: {error.get('ctx', {}).get('error', text)}"
        elif kind != "value_error":
            text = f"got {error['input']!r:.80}; {text[:1].lower()}{text[1:]}"
        words.append(f"{place}: {text}" if place else text)
    first = [part for part in errors[0]["loc"] if part != "body"] if errors else []
    param = str(first[0]) if first and errors[0]["type"] != "json_invalid" else None
    return "; ".join(words), param


def _turn(given: Any) -> dict[str, str]:
    """A turn with the text of its content.

    Raises:
        ValueError: it has parts that are no text, or calls a tool.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"got the turn {given!r:.80}; need an object with role and content")
    turn = {name: value for name, value in given.items() if value is not None}
    role = turn.get("role")
    if turn.get("tool_calls") or turn.get("function_call") or role in ("tool", "function"):
        raise ValueError("got a turn with a tool call; tool calls are not supported")
    roles: tuple[Any, ...] = ("system", "developer", "user", "assistant")
    if role not in roles:
        raise ValueError(f"got the role {role!r:.40}; allowed are {', '.join(roles)}")
    content = turn.get("content", "")
    if isinstance(content, list):
        content = "".join(_text_part(part) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"got the content {content!r:.80}; need a text")
    return {"role": "system" if role == "developer" else str(role), "content": content}


def _text_part(part: Any) -> str:
    kind: Literal["text"] | Any = part.get("type") if isinstance(part, Mapping) else None
    if kind != "text" or not isinstance(part.get("text"), str):
        raise ValueError(f"got the part {part!r:.80}; only parts of type text are read")
    return part["text"]
