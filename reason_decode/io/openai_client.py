"""Client of OpenAI-compatible servers (vLLM, SGLang, llama.cpp): retries, and chats."""

import logging
import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from http.client import HTTPException
from typing import Any, ClassVar, NamedTuple
from urllib import error

from reason_decode.io.http import (
    TOTAL_TIMEOUT,
    DaemonPool,
    JsonClient,
    RateLimit,
    replace_surrogates,
    retry_after_seconds,
)

__all__ = [
    "ChatEndpoint",
    "Endpoint",
    "Messages",
    "NoText",
    "RequestFailed",
    "token_count",
]

Messages = list[dict[str, str]]

_log = logging.getLogger(__name__)

# HTTP statuses of temporary failures, which are retried; the other ones from 400 on reject the
# request itself.
RETRIED_STATUSES = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
# HTTP statuses by which the server would refuse every request, and what the user can do.
FATAL_STATUSES = {
    401: "set the environment variable {key} to a valid key",
    403: "set the environment variable {key} to a key that may use this model",
    404: "check the model's name against its /models, and that the address ends in /v1",
    405: "check that the address ends in /v1",
}
LOGGED_WAIT = 10.0  # seconds of a Retry-After, from which on the wait is logged


class RequestFailed(NamedTuple):
    """A request that the server did not answer, or whose answer cannot be used.

    Attributes:
        reason: the reason; the text before its first colon is the kind of reason.
        retryable: True if the next run should send the request again.

    Examples:
        >>> from reason_decode.mining import RequestFailed
        >>> RequestFailed("cut off: the answer has more than 9 tokens").retryable
        False
    """

    reason: str
    retryable: bool = False


class Endpoint(ABC):
    """Sends requests to one address, several at a time; answers come in the order of the requests.

    Temporary failures (dropped connections, timeouts, statuses 429 and 5xx) are retried after
    ``uniform(0.5, 1) * min(60, 2**attempt / 2)`` seconds, or after the time of ``Retry-After``. A
    429 delays the requests of all threads. A request that fails in all attempts is left to the next
    run; after ``max_failures`` such requests in a row no more are sent.

    Args:
        base_url: address of the server, such as ``http://localhost:8000/v1``.
        model: name of the model at the server.
        api_key_env: environment variable that holds the API key; if it is not set, none is sent.
        concurrency: requests at a time.
        requests_per_minute: requests per minute, at most; ``None`` for no limit.
        attempts: attempts at one request.
        timeout: seconds without a byte from the server after which an attempt fails.
        total_timeout: seconds after which an attempt fails, whatever has come.
        max_tokens: tokens of an answer, at most.
        max_failures: failed requests in a row after which no more are sent.
        extra_body: fields to add to every request, beside ``model``, ``max_tokens`` and
            ``temperature=0``, such as ``seed``.
        sleep: function that waits for a number of seconds; for tests.

    Raises:
        ValueError: the address is not one of http or https, a number is not positive, or the key
            holds a character that a header cannot.
    """

    path: ClassVar[str]
    advice: ClassVar[Mapping[int, str]] = FATAL_STATUSES

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        attempts: int = 6,
        timeout: float = 600.0,
        total_timeout: float = TOTAL_TIMEOUT,
        max_tokens: int = 4096,
        max_failures: int = 10,
        extra_body: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"got the address {base_url!r}; it must begin with http:// or https://, such as "
                "http://localhost:8000/v1"
            )
        numbers = {
            "concurrency": concurrency,
            "requests_per_minute": 1 if requests_per_minute is None else requests_per_minute,
            "attempts": attempts,
            "timeout": timeout,
            "total_timeout": total_timeout,
            "max_tokens": max_tokens,
            "max_failures": max_failures,
        }
        for name, value in numbers.items():
            if not value > 0:
                raise ValueError(f"got {name}={value}; it must be positive")
        self.url = base_url.rstrip("/") + self.path
        self.api_key_env, self.concurrency, self.attempts = api_key_env, concurrency, attempts
        self.max_failures, self.sleep = max_failures, sleep
        self.body = {"model": model, "max_tokens": max_tokens, "temperature": 0}
        self.body |= extra_body or {}
        interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self.rate_limit = RateLimit(interval, sleep)
        self.client = JsonClient(self.url, api_key_env, timeout, total_timeout)

    @abstractmethod
    def _request_fields(self, item: Any) -> dict[str, Any]:
        """Fields of the request for an item, beside those of every request."""

    @abstractmethod
    def _parse_answer(self, response: Any) -> Any:
        """The answer in the JSON of a response.

        Raises:
            ValueError: the response does not have the form of such an endpoint.
        """

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """The answers to the items, in order; ``RequestFailed`` for those without one.

        Requests are sent ahead of the answer that is due, so that a slow one does not hold up the
        others.

        Raises:
            ConnectionError: the server would refuse every request, or too many failed in a row.
        """
        waiting: deque[Future[Any]] = deque()
        failures = 0
        pool = DaemonPool(self.concurrency)
        refused = threading.Event()

        def ask(item: Any) -> Any:
            # A request before this one was refused: its error ends the run, so none is sent.
            if refused.is_set():
                return None
            try:
                return self.ask(item)
            except ConnectionError:
                refused.set()
                raise

        try:
            for item in items:
                waiting.append(pool.submit(partial(ask, item)))
                # At most 4 * concurrency answers are under way or wait for a slow one before them.
                while len(waiting) >= 4 * self.concurrency or (waiting and waiting[0].done()):
                    yield (answer := waiting.popleft().result())
                    failures = self._count_failures(failures, answer)
            while waiting:
                yield (answer := waiting.popleft().result())
                failures = self._count_failures(failures, answer)
        finally:
            pool.close()

    def _count_failures(self, before: int, answer: Any) -> int:
        """Number of requests in a row, up to this one, that the server failed to answer."""
        if not (isinstance(answer, RequestFailed) and answer.retryable):
            return 0
        if before + 1 >= self.max_failures:
            raise ConnectionError(
                f"{self.url} has failed for {before + 1} requests in a row ({answer.reason}); the "
                "results so far are kept: give the same command again when the server is up"
            )
        return before + 1

    def ask(self, item: Any) -> Any:
        """The answer to one item, or ``RequestFailed``.

        Raises:
            ConnectionError: the server would refuse every request.
        """
        reason, filtered = "", False
        for attempt in range(self.attempts):
            self.rate_limit.wait()
            retry_after: float | None = None
            try:
                return self.send(item)
            except error.HTTPError as failure:
                retry_after = retry_after_seconds(failure.headers.get("Retry-After"))
                reason = f"HTTP {failure.code}: {self.client.detail(failure)}"
                self._raise_if_fatal(failure.code, reason)
                if failure.code not in RETRIED_STATUSES:
                    return RequestFailed(reason)
                self._heed(failure.code, retry_after)
            except (OSError, HTTPException, ValueError) as failure:
                filtered = isinstance(failure, NoText)
                kind = "" if filtered else f"no answer: {type(failure).__name__}: "
                reason = self.client.safe(f"{kind}{failure}")
                if _is_timeout(failure):
                    _log.warning(
                        "%s: attempt %d of %d had no answer in time (%s). Where the server is slow "
                        "and not stuck, give it longer: timeout (--timeout), total_timeout",
                        self.url,
                        attempt + 1,
                        self.attempts,
                        reason,
                    )
            if self.client.is_closed:
                return RequestFailed("cancelled")
            if attempt + 1 < self.attempts:
                backoff = min(60.0, 2**attempt / 2) * random.uniform(0.5, 1)
                self.sleep(backoff if retry_after is None else max(retry_after, backoff / 10))
        return RequestFailed(f"{reason} ({self.attempts} attempts)", retryable=not filtered)

    def send(self, item: Any) -> Any:
        """The answer to one attempt at a request."""
        return self._parse_answer(self.client.post({**self.body, **self._request_fields(item)}))

    def _heed(self, status: int, retry_after: float | None) -> None:
        """Hold back the requests of all threads for the time that the server asks for."""
        if status == 429 and retry_after:
            self.rate_limit.hold(retry_after)
        if retry_after and retry_after >= LOGGED_WAIT:
            _log.warning("%s asks to wait %.0f s (HTTP %d)", self.url, retry_after, status)

    def _raise_if_fatal(self, status: int, reason: str) -> None:
        advice = self.advice.get(status)
        if 300 <= status < 400:
            advice = (
                "give the address that it points to: redirects are not followed, because they "
                "would get the API key"
            )
        if advice:
            advice = advice.format(key=self.api_key_env)
            raise ConnectionError(f"{self.url} refuses ({reason}); {advice}")


class NoText(ValueError):
    """An answer that says why it holds no text, such as one that was filtered.

    Another sample may get through, so it is asked for; a later run is not.
    """


class ChatEndpoint(Endpoint):
    """Answers chats by ``POST {base_url}/chat/completions``; see ``Endpoint`` for the arguments.

    An item is a list of messages, an answer its text. An answer that was cut off at ``max_tokens``
    is ``RequestFailed``.

    Examples:
        >>> from reason_decode.mining import ChatEndpoint
        >>> ChatEndpoint("http://localhost:8000/v1", "qwen", concurrency=32).url
        'http://localhost:8000/v1/chat/completions'
    """

    path = "/chat/completions"

    def _request_fields(self, item: Messages) -> dict[str, Any]:
        return {"messages": item}

    def _parse_answer(self, response: Any) -> str | RequestFailed:
        try:
            choice = response["choices"][0]
            text, end = choice["message"]["content"], choice.get("finish_reason")
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(f"no chat completion: {str(response)[:200]}") from None
        if end == "length":
            return RequestFailed("cut off: the answer has more than max_tokens")
        if not isinstance(text, str):
            raise NoText(f"no text in the answer: {end}")
        return replace_surrogates(text)


def token_count(reported: Any) -> int:
    """A number of tokens that a server reports; 0 for anything else."""
    is_number = isinstance(reported, int | float) and math.isfinite(reported)
    return int(reported) if is_number and 0 < reported < 2**53 else 0


def _is_timeout(failure: Exception) -> bool:
    """True if no byte came in time, or not all of them."""
    cause = failure.reason if isinstance(failure, error.URLError) else failure
    return isinstance(cause, TimeoutError)
