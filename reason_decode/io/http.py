"""JSON requests to one server: its key, its pauses, and threads that never outlive a Ctrl-C."""

import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib import error, request

from reason_decode.io.console import printable
from reason_decode.io.deadline import request_deadline

__all__ = [
    "MAX_WAIT",
    "TOTAL_TIMEOUT",
    "DaemonPool",
    "JsonClient",
    "RateLimit",
    "read_api_key",
    "replace_surrogates",
    "retry_after_seconds",
]

MAX_RESPONSE = 16 * 2**20  # bytes
MAX_WAIT = 600.0  # seconds
MIN_SECRET = 12
"""Characters from which on a key is taken out of answers: shorter ones, such as `EMPTY`, are words
that a model may write."""
TOTAL_TIMEOUT = 3600.0  # seconds


def read_api_key(name: str) -> str | None:
    """The API key in an environment variable, without white space around it.

    Raises:
        ValueError: it holds a character that a header cannot; the key itself is not shown.
    """
    key = os.environ.get(name, "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable():
        raise ValueError(
            f"got a key in {name} with a character that no API key has, such as a line end within "
            f"it; set {name} to the key alone"
        )
    return key


def retry_after_seconds(header: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, a number or a date; at most ten minutes.

    ``None`` without a header, and for one that says neither.
    """
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(wait) else min(max(wait, 0.0), MAX_WAIT)


def replace_surrogates(text: str) -> str:
    """The text with halves of characters replaced by U+FFFD, so that it can be written as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class JsonClient:
    """Posts JSON to one address and reads JSON; redirects are errors, since they would get the key.

    Args:
        url: the address.
        api_key_env: environment variable that holds the API key; if it is not set, none is sent.
        timeout: seconds without a byte from the server after which a request fails.
        total_timeout: seconds after which a request fails, whatever has come.
    """

    def __init__(
        self, url: str, api_key_env: str, timeout: float, total_timeout: float = TOTAL_TIMEOUT
    ) -> None:
        self.url, self.timeout, self.total_timeout = url, timeout, total_timeout
        self.key = read_api_key(api_key_env)
        self.is_closed = False
        self._running: set[Callable[[], None]] = set()

    def post(self, body: Any) -> Any:
        """The JSON that the server answers to a body; without one (``None``), to a GET.

        Raises:
            HTTPError: the server answers with another status than 2xx.
            OSError, HTTPException: the connection breaks, or the answer takes too long.
            ValueError: the answer is no JSON, nested too deeply, or too long.
        """
        with self._response(body) as response:
            data = response.read(MAX_RESPONSE + 1)
        if len(data) > MAX_RESPONSE:
            raise ValueError(f"a response of more than {MAX_RESPONSE} bytes")
        return self._parse(data)

    def events(self, body: Any) -> Generator[Any, None, None]:
        """The JSON of each server-sent event; a caller that stops early closes the connection.

        Raises:
            HTTPError, OSError, HTTPException, ValueError: as in ``post``.
        """
        total = 0
        with self._response(body) as response:
            for line in response:
                total += len(line)
                if total > MAX_RESPONSE:
                    raise ValueError(f"a response of more than {MAX_RESPONSE} bytes")
                if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                    yield self._parse(data)

    def close(self) -> None:
        """End the requests that other threads are in; their servers stop working on them."""
        self.is_closed = True
        for end in list(self._running):
            end()

    @contextmanager
    def _response(self, body: Any) -> Iterator[Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        # Without a body it is a GET.
        data = None if body is None else json.dumps(body).encode()
        sent = request.Request(self.url, data, headers)
        with request_deadline(self.total_timeout, _NoRedirect, running=self._running) as opened:
            with opened(sent, self.timeout) as response:
                yield response

    def _parse(self, data: bytes) -> Any:
        """The JSON in a server's answer, without the key."""
        if self.key and len(self.key) >= MIN_SECRET:
            # A server that repeats what it got would put the key into every file that is written.
            data = data.replace(self.key.encode(), b"***")
        try:
            return json.loads(data)
        except RecursionError:
            raise ValueError("a response that is nested too deeply") from None

    def detail(self, failure: error.HTTPError) -> str:
        """The beginning of the text of a refusal, or its reason where the text cannot be read."""
        with failure:
            try:
                text = failure.read(2**16).decode(errors="replace").strip()
            except (OSError, HTTPException):
                text = ""
        # Cut last: the key is not found where its end is missing.
        return self.safe(text or str(failure.reason))[:300]

    def safe(self, text: str) -> str:
        """A server's text without the key and control codes, for terminals and files."""
        return printable(text.replace(self.key, "***") if self.key else text)


class RateLimit:
    """Times at which requests may be sent; shared by the threads.

    Args:
        interval: seconds between two requests, at least.
        sleep: function that waits for a number of seconds.
    """

    def __init__(self, interval: float, sleep: Callable[[float], None]) -> None:
        self.interval, self.sleep = interval, sleep
        self.lock, self.next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Wait until the next request may be sent."""
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


class DaemonPool:
    """Runs calls in daemon threads, which do not keep an interrupted process alive.

    The threads of ``concurrent.futures`` are joined at exit: a request that waits for its server,
    or for the end of a ``Retry-After``, would hold up Ctrl-C for minutes.

    Args:
        threads: number of threads; each is started when it is first needed.
    """

    def __init__(self, threads: int) -> None:
        self.threads, self.started = threads, 0
        self.calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """The future result of a call."""
        future: Future[Any] = Future()
        self.calls.put((future, call))
        if self.started < self.threads:
            self.started += 1
            threading.Thread(target=self._work, daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end after the calls that they are in; the others are not made."""
        while not self.calls.empty():
            self.calls.get()
        for _ in range(self.started):
            self.calls.put(None)

    def _work(self) -> None:
        while (job := self.calls.get()) is not None:
            future, call = job
            try:
                future.set_result(call())
            except BaseException as failure:
                future.set_exception(failure)


class _NoRedirect(request.HTTPRedirectHandler):
    """Treats redirects as errors: urllib would send the API key to the new address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """None: the redirect becomes an HTTPError."""
