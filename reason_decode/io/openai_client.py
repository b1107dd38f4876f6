"""Chats and texts completed by a server of OpenAI's form, such as vLLM's or SGLang's."""

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

# Statuses that may pass; every other one from 400 on is about what was sent.
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
# Statuses that no other document would fare better with.
REFUSALS = {
    401: "set the environment variable {key} to a key that it takes",
    403: "set the environment variable {key} to a key that may use this model",
    404: "look at its /models for what it serves, and whether the address has to end in /v1",
    405: "look whether the address has to end in /v1",
}
LARGEST = 16 * 2**20  # bytes of an answer


class RequestFailed(NamedTuple):
    """Why a chat has no answer.

    Attributes:
        reason: what stands before a colon is the kind of reason.
        retryable: True if the next run should ask again.

    Example:
        >>> from reason_decode.mining import RequestFailed
        >>> RequestFailed("cut off: the answer has more than 9 tokens").retryable
        False
    """

    reason: str
    retryable: bool = False


class Completion(NamedTuple):
    """How a server continued a text.

    Attributes:
        text: the continuation.
        finished: ended by itself, not by the token budget.
        read: tokens of the prompt; 0 where the server does not say.
        sampled: tokens of the continuation; likewise.
    """

    text: str
    finished: bool
    read: int
    sampled: int


class Endpoint:
    """Completes chats by ``POST {base_url}/chat/completions``, several at once, answers in order.

    What fails for a while (dropped connections, timeouts, 429, 5xx) is tried again after
    ``uniform(0.5, 1) * min(60, 2**attempt / 2)`` seconds, or after as long as ``Retry-After`` says;
    a 429 holds back the other threads too. A chat that fails to the end is left for another run;
    after ``give_up`` such chats in a row nothing more is tried.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        model: the name it is served under.
        key: the environment variable that holds the key; where it is unset, none is sent.
        concurrency: chats under way at once.
        per_minute: at most as many requests; ``None`` for no limit.
        attempts: requests for one chat.
        timeout: seconds that the server may be silent.
        max_tokens: of an answer; what is cut off is set aside.
        give_up: see above.
        options: put into every request beside ``model``, ``messages``, ``max_tokens`` and
            ``temperature=0``, such as ``seed``.
        sleep: waits for a number of seconds; for tests.

    Raises:
        ValueError: an address that is not http or https, or a number that must be positive.

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
        key: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        per_minute: float | None = None,
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
        numbers |= {"max_tokens": max_tokens, "give_up": give_up, "per_minute": per_minute or 1}
        for name, value in numbers.items():
            if not value > 0:
                raise ValueError(f"got {name}={value}; it must be positive")
        self.url = base_url.rstrip("/") + self.path
        self.key, self.concurrency, self.attempts = key, concurrency, attempts
        self.timeout, self.give_up, self.sleep = timeout, give_up, sleep
        self.body = {"model": model, "max_tokens": max_tokens, "temperature": 0} | (options or {})
        self.pace = _Pace(60 / per_minute if per_minute else 0.0, sleep)
        self.opener = request.build_opener(_NoRedirect)

    def __call__(self, chats: Iterable[Any]) -> Iterator[Any]:
        """The answers, in order; a few chats are asked for ahead, so that one slow is not all."""
        waiting: deque[Future[Any]] = deque()
        failed = 0
        pool = ThreadPoolExecutor(self.concurrency)
        refused = threading.Event()

        def ask(chat: Any) -> Any:
            # Chats begin in order: one before this one ends the run, and nobody reads this answer.
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
                # Beyond what is under way, as many answers may wait for a slow one before them.
                while len(waiting) >= 4 * self.concurrency or (waiting and waiting[0].done()):
                    yield (answer := waiting.popleft().result())
                    failed = self._failed(failed, answer)
            while waiting:
                yield (answer := waiting.popleft().result())
                failed = self._failed(failed, answer)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _asked(self, chat: Any) -> dict[str, Any]:
        """What a request says of a chat."""
        return {"messages": chat}

    def _read(self, answer: Any) -> Any:
        """What an answer says.

        Raises:
            ValueError: it is not of the form that such endpoints have.
        """
        return _content(answer)

    def _failed(self, before: int, answer: Any) -> int:
        """How many chats in a row have failed for the server's sake."""
        if not (isinstance(answer, RequestFailed) and answer.retryable):
            return 0
        if before + 1 >= self.give_up:
            raise ConnectionError(
                f"{self.url} has failed for {before + 1} requests in a row ({answer.reason}); "
                "what is done is kept: run the same command again when it is up"
            )
        return before + 1

    def ask(self, chat: Any) -> Any:
        """The answer to one chat.

        Raises:
            ConnectionError: the server refuses in a way that it would refuse every chat.
        """
        reason = ""
        for attempt in range(self.attempts):
            self.pace.wait()
            pause: float | None = None
            try:
                return self._read(self._post({**self.body, **self._asked(chat)}))
            except error.HTTPError as failure:
                with failure:
                    said = failure.read(300).decode(errors="replace").strip()
                    pause = _seconds(failure.headers.get("Retry-After"))
                reason = f"HTTP {failure.code}: {said or failure.reason}"
                self._stop_if_refused(failure.code, reason)
                if failure.code not in PASSING:
                    return RequestFailed(reason)
                if failure.code == 429 and pause:
                    self.pace.hold(pause)
            except (OSError, HTTPException, ValueError) as failure:
                reason = f"no answer: {type(failure).__name__}: {failure}"
            if attempt + 1 < self.attempts:
                backoff = min(60.0, 2**attempt / 2) * random.uniform(0.5, 1)
                self.sleep(backoff if pause is None else max(pause, backoff / 10))
        return RequestFailed(f"{reason} ({self.attempts} attempts)", retryable=True)

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key):
            headers["Authorization"] = f"Bearer {key}"
        sent = request.Request(self.url, json.dumps(body).encode(), headers)
        with self.opener.open(sent, timeout=self.timeout) as answer:
            data = answer.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"an answer of more than {LARGEST} bytes")
        return json.loads(data)

    def _stop_if_refused(self, status: int, reason: str) -> None:
        advice = REFUSALS.get(status)
        if 300 <= status < 400:
            advice = "give the address it points to: redirects are not followed, for the key's sake"
        if advice:
            told = advice.format(key=self.key)
            raise ConnectionError(f"{self.url} refuses ({reason}); {told}")


class TextEndpoint(Endpoint):
    """Continues texts by ``POST {base_url}/completions``; arguments as of ``Endpoint``.

    A text comes with the seed of its continuation, ``(text, seed)``; of one that the server cut off
    at ``max_tokens`` it gives what there is.
    """

    path = "/completions"

    def _asked(self, chat: tuple[str, int]) -> dict[str, Any]:
        return {"prompt": chat[0], "seed": chat[1]}

    def _read(self, answer: Any) -> Completion:
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
    """The text of an answer that is whole.

    Raises:
        ValueError: it is not of the form that such endpoints have.
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
    """``Retry-After``: seconds, or a date; ten minutes at most."""
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


class _Pace:
    """When the next request may go out; shared by threads."""

    def __init__(self, every: float, sleep: Callable[[float], None]) -> None:
        self.every, self.sleep = every, sleep
        self.lock, self.next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Take the next place in time, and wait for it."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.every
        if turn > now:
            self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let nobody go before then."""
        with self.lock:
            self.next = max(self.next, time.monotonic() + seconds)


class _NoRedirect(request.HTTPRedirectHandler):
    """urllib would send the key along to wherever a redirect points."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Let the redirect be an error."""
