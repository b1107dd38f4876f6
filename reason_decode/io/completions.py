"""Client of ``POST /completions`` of an OpenAI-compatible server."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from reason_decode.io.http import replace_surrogates
from reason_decode.io.openai_client import Endpoint, NoText, token_count

__all__ = ["ChatEndpoint", "Choice", "Completion", "CompletionEndpoint", "CompletionRequest"]


class CompletionRequest(NamedTuple):
    """A request for completions of a prompt.

    Attributes:
        fields: fields of the request beside ``model``: ``prompt``, ``max_tokens``, ``n``, ...
        until: given the text so far, true if no more of it is needed. The one completion is then
            streamed, and the connection closed, so that the server stops. ``None``: not streamed.
    """

    fields: Mapping[str, Any]
    until: Callable[[str], bool] | None = None


class Choice(NamedTuple):
    """One completion of a prompt.

    Attributes:
        text: the completion, without the prompt.
        end: ``"stop"`` if it ended by itself or at a stop string, ``"length"`` at ``max_tokens``;
            ``None`` if the client ended it.
        token_ids: its token ids; ``None`` if the server gives none.
        logps: log-probability of each token; ``None`` if the server gives none.
        top_logps: log-probabilities of the likeliest tokens at each place; as ``logps``.
    """

    text: str
    end: str | None
    token_ids: tuple[int, ...] | None = None
    logps: tuple[float, ...] | None = None
    top_logps: tuple[tuple[float, ...], ...] | None = None


class Completion(NamedTuple):
    """The completions of a prompt, and the tokens that the server counts; 0 where it does not.

    Attributes:
        choices: the completions.
        prompt_tokens: tokens of the prompt.
        completion_tokens: tokens of all completions.
        cached_tokens: tokens of the prompt that the server had read before.
    """

    choices: tuple[Choice, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class CompletionEndpoint(Endpoint):
    """Completes prompts by ``POST {base_url}/completions``; see ``Endpoint`` for the arguments.

    An item is a ``CompletionRequest``, an answer its ``Completion``.
    """

    path = "/completions"

    def __init__(self, base_url: str, model: str, **options: Any) -> None:
        super().__init__(base_url, model, **options)
        # All other fields are those of each request.
        self.body = {"model": model}

    def _request_fields(self, item: CompletionRequest) -> dict[str, Any]:
        return dict(item.fields)

    def send(self, item: CompletionRequest) -> Completion:
        """The answer to one attempt at a request, streamed where ``until`` asks for it."""
        if item.until is None:
            return super().send(item)
        text, end, usage, ids = "", None, {}, list[int]()
        body = {**self.body, **item.fields, "stream": True}
        with closing(self.client.events(body)) as events:
            for event in events:
                more, reason, counted, new = _event(event)
                text, end, usage = text + more, reason or end, counted or usage
                ids += new
                if end is None and item.until(text):
                    break
            else:
                if end is None:
                    raise ValueError("the stream of a completion ended early")
        choice = Choice(replace_surrogates(text), end, tuple(ids) or None)
        return Completion((choice,), *_counts(usage))

    def _parse_answer(self, response: Any) -> Completion:
        try:
            choices = sorted(response["choices"], key=lambda choice: choice.get("index") or 0)
            found = tuple(_choice(self._with_text(choice)) for choice in choices)
            read, sampled, cached = _counts(response.get("usage") or {})
            if len(found) > 1:  # llama.cpp counts the first one alone
                sampled = max(sampled, sum(len(x.token_ids or ()) for x in found))
            return Completion(found, read, sampled, cached)
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(f"no text completion: {str(response)[:200]}") from None

    def _with_text(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """A choice of an answer with its ``text``."""
        return choice


class ChatEndpoint(CompletionEndpoint):
    """Answers chats by ``POST {base_url}/chat/completions``, each as a whole.

    Requests have ``messages`` in place of ``prompt``. A thought that the server keeps apart
    (``reasoning_content`` or ``reasoning``) stands before the answer, in ``<think>`` tags.
    """

    path = "/chat/completions"

    def _with_text(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        message = choice["message"]
        text = message.get("content")
        thought = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(thought, str) and thought:
            text = f"<think>{thought}</think>{text or ''}"
        # Log-probabilities of a chat's tokens have no ids.
        return {**choice, "text": text, "logprobs": None}


def _event(event: Any) -> tuple[str, str | None, Mapping[str, Any], list[int]]:
    """The text, reason to end, usage and token ids in an event of a streamed completion."""
    try:
        choices = event["choices"]
        text = "".join(choice.get("text") or "" for choice in choices)
        ends = [end for choice in choices if (end := choice.get("finish_reason"))]
        ids = [x for choice in choices for x in _token_ids(choice) or ()]
        return text, ends[-1] if ends else None, event.get("usage") or {}, ids
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"no text completion: {str(event)[:200]}") from None


def _choice(choice: Mapping[str, Any]) -> Choice:
    """A completion in the JSON of an answer.

    Raises:
        ValueError: it has no text.
    """
    text, end = choice["text"], choice.get("finish_reason")
    if text is None and end is not None:
        raise NoText(f"no text in the answer: {end}")
    if not isinstance(text, str):
        raise ValueError(f"no text in the answer: {str(choice)[:200]}")
    stats = choice.get("logprobs")
    logps = top = None
    if stats is not None and "content" in stats:  # llama.cpp, in the form of chats
        tokens = stats["content"] or ()
        logps = tuple(float(x["logprob"]) for x in tokens)
        top = tuple(tuple(float(y["logprob"]) for y in x["top_logprobs"]) for x in tokens)
    elif stats is not None:
        logps = tuple(map(float, stats["token_logprobs"]))
        top = tuple(tuple(x.values()) for x in stats.get("top_logprobs") or ())
    return Choice(replace_surrogates(text), end, _token_ids(choice), logps, top)


def _token_ids(choice: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The token ids of a choice: vLLM's and SGLang's field, or those of llama.cpp's statistics."""
    ids, stats = choice.get("token_ids"), choice.get("logprobs") or {}
    if ids is None and "content" in stats:
        tokens = stats["content"] or ()
        ids = [x["id"] for x in tokens if "id" in x]
        ids = ids if len(ids) == len(tokens) else None
    return None if ids is None else tuple(map(int, ids))


def _counts(usage: Mapping[str, Any]) -> tuple[int, int, int]:
    """Tokens of the prompt, of the completions, and those that were cached."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    read, sampled = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return token_count(read), token_count(sampled), token_count(cached)
