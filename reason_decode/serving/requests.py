"""Requests to servers side by side; where one fails, the others are cancelled."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import partial

from reason_decode.core.errors import ItemError
from reason_decode.io.completions import Completion, CompletionEndpoint, CompletionRequest
from reason_decode.io.http import DaemonPool
from reason_decode.io.openai_client import RequestFailed

__all__ = ["ask_all"]

_CHECK_SECONDS = 0.2


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
