"""The HTTP server of a gateway: its socket, and its end at SIGTERM."""

import ipaddress
import signal
import socket
from collections.abc import Collection
from types import FrameType
from typing import Any

import uvicorn

from reason_decode.serving.gateway.service import Gateway

__all__ = ["GatewayServer", "is_loopback", "listen", "local_hosts", "run_server"]


class GatewayServer(uvicorn.Server):
    """A server that lets its gateway stop first, and then ends with status 0.

    Args:
        config: uvicorn's.
        gateway: the gateway.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self.gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse requests from now on; a second Ctrl-C ends what runs, too."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
            self.gateway.close()
        # uvicorn would raise the signal again at its end, which is no failure here.
        self.should_exit = True
        self.gateway.stop()


def run_server(
    app: Any, gateway: Gateway, listening: socket.socket, stop_timeout: int = 60
) -> None:
    """Answer requests until SIGTERM or Ctrl-C.

    Args:
        app: the application of ``create_app``.
        gateway: its gateway.
        listening: the socket of ``listen``.
        stop_timeout: seconds that a running request has to end.
    """
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=stop_timeout, server_header=False
    )
    GatewayServer(config, gateway).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Args:
        host: a name or an address.
        port: the port; 0: a free one.

    Raises:
        OSError: the address is taken, or none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise OSError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; name another --port "
            "or --host"
        ) from error


def is_loopback(host: str) -> bool:
    """True if only this machine can reach an address.

    Examples:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def local_hosts(host: str) -> Collection[str]:
    """Names of this machine under which a gateway at a loopback address answers; else empty."""
    return {"127.0.0.1", "localhost", "[::1]", host.lower()} if is_loopback(host) else ()
