"""Requests to servers side by side; where one fails, the others are cancelled."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from reason_decode.core.errors import ItemError
from reason_decode.io.completions import Completion, CompletionEndpoint, CompletionRequest
from reason_decode.io.http import DaemonPool
from reason_decode.io.openai_client import RequestFailed

__all__ = ["Servers", "Transport", "ask_all"]

_CHECK_SECONDS = 0.2


class Transport(Protocol):
    """The way of requests to what completes prompts."""

    @property
    def name(self) -> str:
        """Its name for error messages: the address of a server."""
        ...

    def ask(
        self, requests: Sequence[tuple[int, CompletionRequest]], check: Callable[[], None] | None
    ) -> list[Completion]:
        """The answers to requests, in their order.

        Args:
            requests: each with the index of the prompt in the call that it continues.
            check: called while they are under way; raises where their answers are unwanted.
        """
        ...


@dataclass(frozen=True, eq=False)
class Servers:
    """The way to one or several servers, for one call: it is closed where a request fails.

    Args:
        endpoints: one for each server.
        threads: requests at a time.
    """

    endpoints: Sequence[CompletionEndpoint]
    threads: int

    @property
    def name(self) -> str:
        """The address of the first server."""
        return self.endpoints[0].url

    def ask(
        self, requests: Sequence[tuple[int, CompletionRequest]], check: Callable[[], None] | None
    ) -> list[Completion]:
        """The answers to requests; those of a prompt go to one server, which has it cached.

        Raises:
            ConnectionError: a server is down, or refuses every request.
            ItemError: a server cannot answer one of them.
        """
        sent = [(self.endpoints[k % len(self.endpoints)], request) for k, request in requests]
        return ask_all(sent, self.threads, check)


def ask_all(
    requests: Sequence[tuple[CompletionEndpoint, CompletionRequest]],
    threads: int,
    check: Callable[[], None] | None = None,
) -> list[Completion]:
    """The answers to all requests, in their order.

    Where one fails, the connections of the others are closed, so that their servers stop.

    Args:
        requests: each with the endpoint that it is sent to, which is used for one call only.
        threads: requests at a time.
        check: called while they are under way; raises where their answers are no longer wanted.

    Raises:
        ConnectionError: a server is down, or refuses every request.
        ItemError: a server cannot answer one of them.
    """
    pool = DaemonPool(threads)
    try:
        futures = [pool.submit(partial(_answer, *request)) for request in requests]
        failed: list[Future[Completion]] = []
        waiting = True
        while waiting and not failed:
            if check is not None:
                check()
            seconds = None if check is None else _CHECK_SECONDS
            done, waiting = wait(futures, seconds, FIRST_EXCEPTION)
            failed = [future for future in futures if future in done and future.exception()]
        return [future.result() for future in (failed or futures)]
    except BaseException:
        for endpoint, _ in requests:
            endpoint.client.close()
        raise
    finally:
        pool.close()


def _answer(endpoint: CompletionEndpoint, request: CompletionRequest) -> Completion:
    """The answer to a request; a failure as an exception."""
    answer = endpoint.ask(request)
    if isinstance(answer, Completion):
        return answer
    assert isinstance(answer, RequestFailed)
    if answer.retryable:
        raise ConnectionError(
            f"{endpoint.url}: {answer.reason}; what is finished is kept: try again when the server "
            "is up"
        )
    raise ItemError(answer.reason)
