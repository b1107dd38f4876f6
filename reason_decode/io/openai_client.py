"""A client of OpenAI-compatible servers (vLLM, SGLang, ...) that completes chats and texts."""

import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib import error, request

__all__ = ["Completion", "Endpoint", "Messages", "RequestFailed", "TextEndpoint"]

Messages = list[dict[str, str]]

# HTTP statuses that may be over at the next attempt; every other error is one of the request.
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
# HTTP statuses that every request would get, with advice.
REFUSALS = {
    401: "set the environment variable {key} to a valid key",
    403: "set the environment variable {key} to a key that may use this model",
    404: "check the model's name against its /models, and that the address ends in /v1",
    405: "check that the address ends in /v1",
}
MAX_ANSWER_BYTES = 16 * 2**20


class RequestFailed(NamedTuple):
    """A request without an answer.

    Attributes:
        reason: the reason; the part before its first colon is the kind of reason.
        retryable: True if the next run should ask again.

    Example:
        >>> from reason_decode.mining import RequestFailed
        >>> RequestFailed("cut off: the answer has more than 9 tokens").retryable
        False
    """

    reason: str
    retryable: bool = False


class Completion(NamedTuple):
    """A server's continuation of a text.

    Attributes:
        text: the continuation.
        finished: True if it ended by itself, not by the token budget.
        prompt_tokens: number of tokens of the prompt; 0 if the server does not report it.
        completion_tokens: number of tokens of the continuation; 0 if the server does not report it.
    """

    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


class Endpoint:
    """Completes chats by ``POST {base_url}/chat/completions``, several at once, answers in order.

    A request that fails for a reason that may pass (dropped connections, timeouts, 429, 5xx) is
    retried after ``uniform(0.5, 1) * min(60, 2**attempt / 2)`` seconds, or after the seconds that
    ``Retry-After`` asks for; after a 429 the other threads wait as well. A chat whose attempts all
    fail is left to the next run. After ``give_up`` such chats in a row, ``ConnectionError`` is
    raised.

    Args:
        base_url: address of the server, such as ``http://localhost:8000/v1``.
        model: name of the model at the server.
        api_key_env: environment variable that holds the API key; if it is unset, none is sent.
        concurrency: number of requests at a time.
        requests_per_minute: rate limit; ``None`` for none.
        attempts: number of requests for a chat before it fails.
        timeout: seconds without data from the server before a request fails.
        max_tokens: longest answer in tokens; a longer one is a ``RequestFailed``.
        give_up: number of failed chats in a row after which the server counts as down.
        options: further fields of every request, such as ``seed``; ``model``, ``messages``,
            ``max_tokens`` and ``temperature=0`` are sent anyway.
        sleep: waits for a number of seconds; for tests.

    Raises:
        ValueError: the address is not http or https, or a number is not positive.

    Example:
        >>> from reason_decode.mining import Endpoint
        >>> Endpoint("http://localhost:8000/v1", "qwen", concurrency=32).url
        'http://localhost:8000/v1/chat/completions'
    """

    path = "/chat/completions"

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
        max_tokens: int = 4096,
        give_up: int = 10,
        options: dict[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"got the address {base_url!r}; it must begin with http:// or https://, such as "
                "http://localhost:8000/v1"
            )
        numbers = {"concurrency": concurrency, "attempts": attempts, "timeout": timeout}
        numbers |= {"max_tokens": max_tokens, "give_up": give_up}
        numbers |= {"requests_per_minute": requests_per_minute or 1}
        for name, value in numbers.items():
            if not value > 0:
                raise ValueError(f"got {name}={value}; it must be positive")
        self.url = base_url.rstrip("/") + self.path
        self.api_key_env, self.concurrency, self.attempts = api_key_env, concurrency, attempts
        self.timeout, self.give_up, self.sleep = timeout, give_up, sleep
        self.body = {"model": model, "max_tokens": max_tokens, "temperature": 0} | (options or {})
        self.rate_limit = _RateLimit(
            60 / requests_per_minute if requests_per_minute else 0.0, sleep
        )
        self.opener = request.build_opener(_NoRedirect)

    def __call__(self, chats: Iterable[Any]) -> Iterator[Any]:
        """The answers, in order; later chats are sent while an earlier one is waited for."""
        waiting: deque[Future[Any]] = deque()
        failures = 0
        pool = ThreadPoolExecutor(self.concurrency)
        refused = threading.Event()

        def ask(chat: Any) -> Any:
            # An earlier chat was refused, which ends the run: this answer will not be read.
            if refused.is_set():
                return None
            try:
                return self.ask(chat)
            except ConnectionError:
                refused.set()
                raise

        try:
            for chat in chats:
                waiting.append(pool.submit(ask, chat))
                # Bounds the number of answers that wait for a slow one before them.
                while len(waiting) >= 4 * self.concurrency or (waiting and waiting[0].done()):
                    yield (answer := waiting.popleft().result())
                    failures = self._count_failures(failures, answer)
            while waiting:
                yield (answer := waiting.popleft().result())
                failures = self._count_failures(failures, answer)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _request_fields(self, chat: Any) -> dict[str, Any]:
        """The fields of a request that depend on the chat."""
        return {"messages": chat}

    def _parse_answer(self, answer: Any) -> Any:
        """The result of a request, from the JSON of the server's answer.

        Raises:
            ValueError: the answer does not have the API's form.
        """
        return _content(answer)

    def _count_failures(self, before: int, answer: Any) -> int:
        """Number of chats in a row that failed because of the server.

        Raises:
            ConnectionError: there are ``give_up`` of them.
        """
        if not (isinstance(answer, RequestFailed) and answer.retryable):
            return 0
        if before + 1 >= self.give_up:
            raise ConnectionError(
                f"{self.url} has failed for {before + 1} requests in a row ({answer.reason}); "
                "the results so far are kept: run the same command again when it is up"
            )
        return before + 1

    def ask(self, chat: Any) -> Any:
        """The answer to one chat.

        Raises:
            ConnectionError: the server would refuse every chat in the same way.
        """
        reason = ""
        for attempt in range(self.attempts):
            self.rate_limit.wait()
            pause: float | None = None
            try:
                return self._parse_answer(self._post({**self.body, **self._request_fields(chat)}))
            except error.HTTPError as failure:
                with failure:
                    detail = failure.read(300).decode(errors="replace").strip()
                    pause = _seconds(failure.headers.get("Retry-After"))
                reason = f"HTTP {failure.code}: {detail or failure.reason}"
                self._stop_if_refused(failure.code, reason)
                if failure.code not in TRANSIENT:
                    return RequestFailed(reason)
                if failure.code == 429 and pause:
                    self.rate_limit.hold(pause)
            except (OSError, HTTPException, ValueError) as failure:
                reason = f"no answer: {type(failure).__name__}: {failure}"
            if attempt + 1 < self.attempts:
                backoff = min(60.0, 2**attempt / 2) * random.uniform(0.5, 1)
                self.sleep(backoff if pause is None else max(pause, backoff / 10))
        return RequestFailed(f"{reason} ({self.attempts} attempts)", retryable=True)

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.api_key_env):
            headers["Authorization"] = f"Bearer {key}"
        sent = request.Request(self.url, json.dumps(body).encode(), headers)
        with self.opener.open(sent, timeout=self.timeout) as answer:
            data = answer.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return json.loads(data)

    def _stop_if_refused(self, status: int, reason: str) -> None:
        advice = REFUSALS.get(status)
        if 300 <= status < 400:
            advice = (
                "pass the address it points to: redirects are not followed, to keep the key safe"
            )
        if advice:
            advice = advice.format(key=self.api_key_env)
            raise ConnectionError(f"{self.url} refuses ({reason}); {advice}")


class TextEndpoint(Endpoint):
    """Continues texts by ``POST {base_url}/completions``; see ``Endpoint`` for the arguments.

    It is called with pairs of a text and the seed of its continuation. A continuation that the
    server cut off at ``max_tokens`` is returned with ``finished=False``.
    """

    path = "/completions"

    def _request_fields(self, chat: tuple[str, int]) -> dict[str, Any]:
        return {"prompt": chat[0], "seed": chat[1]}

    def _parse_answer(self, answer: Any) -> Completion:
        try:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            text, end = choice["text"], choice.get("finish_reason")
            counts = [int(usage.get(f"{name}_tokens") or 0) for name in ("prompt", "completion")]
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(f"no text completion: {str(answer)[:200]}") from None
        if not isinstance(text, str):
            raise ValueError(f"no text in the answer: {str(answer)[:200]}")
        return Completion(text, end != "length", *counts)


def _content(answer: Any) -> str | RequestFailed:
    """The text of a complete answer.

    Raises:
        ValueError: the answer does not have the API's form.
    """
    try:
        choice = answer["choices"][0]
        text, end = choice["message"]["content"], choice.get("finish_reason")
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ValueError(f"no chat completion: {str(answer)[:200]}") from None
    if end == "length":
        return RequestFailed("cut off: the answer has more than max_tokens")
    if not isinstance(text, str):
        return RequestFailed(f"no text in the answer: {end}")
    return text


def _seconds(after: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (seconds or a date), at most ten minutes."""
    if not after:
        return None
    try:
        wait = float(after)
    except ValueError:
        try:
            wait = parsedate_to_datetime(after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(wait, 0.0), 600.0)


class _RateLimit:
    """Times at which requests may be sent, at a fixed interval; shared by threads."""

    def __init__(self, interval: float, sleep: Callable[[float], None]) -> None:
        self.interval, self.sleep = interval, sleep
        self.lock, self.next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Reserve the next time, and wait for it."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.interval
        if turn > now:
            self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let no request be sent for a number of seconds."""
        with self.lock:
            self.next = max(self.next, time.monotonic() + seconds)


class _NoRedirect(request.HTTPRedirectHandler):
    """Refuses redirects, since urllib would send the key to the new address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Return nothing, which makes the redirect an error."""
