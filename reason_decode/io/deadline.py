"""A limit of the time of a whole HTTP request, beside the one of each wait for a byte."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib import request

__all__ = ["request_deadline"]

Open = Callable[[request.Request, float], Any]
"""A request and the seconds without a byte after which it fails -> its response."""


@contextmanager
def request_deadline(
    seconds: float, *handlers: Any, running: set[Callable[[], None]] | None = None
) -> Iterator[Open]:
    """Context of one request, which ends with ``TimeoutError`` if it takes longer in all.

    A server that sends a byte now and then never breaks the limit of silence.

    Args:
        seconds: the limit.
        handlers: further handlers of urllib's opener.
        running: holds, while the request lasts, a function that ends it.
    """
    running = set() if running is None else running
    sockets: list[socket.socket] = []
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        for each in sockets:
            try:
                # Unlike close, this ends a read that another thread is in.
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    running.add(expire)
    opener = request.build_opener(_Http(sockets), _Https(sockets), *handlers)
    try:
        yield lambda sent, timeout: opener.open(sent, timeout=min(timeout, seconds))
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set():
            raise TimeoutError(f"no whole answer within {seconds:g} seconds") from error
        raise
    finally:
        timer.cancel()
        running.discard(expire)
    if expired.is_set():  # a body of unknown length ended early without an error
        raise TimeoutError(f"no whole answer within {seconds:g} seconds")


def _recorded(kind: Any, sockets: list[socket.socket]) -> Any:
    """A class of connections that keeps its sockets, of which urllib drops its own reference."""

    class Recorded(kind):
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return Recorded


class _Http(request.HTTPHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self.connection = _recorded(http.client.HTTPConnection, sockets)

    def http_open(self, req: request.Request) -> Any:
        """Open over a connection whose socket is kept."""
        return self.do_open(self.connection, req)


class _Https(request.HTTPSHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self.connection = _recorded(http.client.HTTPSConnection, sockets)

    def https_open(self, req: request.Request) -> Any:
        """Open over a connection whose socket is kept."""
        return self.do_open(self.connection, req)
