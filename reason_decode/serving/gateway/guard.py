"""Checks of a request before its body is read: its host, its key, its size."""

from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from reason_decode.serving.gateway.errors import RequestError, error_body
from reason_decode.serving.gateway.keys import ApiKeys

__all__ = ["Guard", "error_response"]


class Guard:
    """ASGI middleware that refuses requests by their headers.

    Args:
        app: the application.
        keys: the keys of which requests to ``/v1`` need one; ``None``: they need none.
        hosts: names under which the gateway answers; empty: any. A page that a browser shows could
            otherwise reach a gateway without keys by a name of its own (DNS rebinding).
        max_bytes: bytes of a body, at most.
    """

    def __init__(
        self, app: Any, keys: ApiKeys | None, hosts: Collection[str], max_bytes: int
    ) -> None:
        self.app, self.keys, self.hosts, self.max_bytes = app, keys, hosts, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["owner"] = self._owner(scope, Headers(scope=scope))
            except RequestError as error:
                await error_response(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _owner(self, scope: Any, headers: Headers) -> str:
        """A word for the client.

        Raises:
            RequestError: it is refused.
        """
        host = (headers.get("host") or "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.hosts and name not in self.hosts:
            raise RequestError(
                421,
                f"got the host {name!r:.80}; without API keys this gateway answers to "
                f"{', '.join(sorted(self.hosts))} only",
            )
        owner = ""
        if self.keys is not None and scope["path"].startswith("/v1"):
            found = self.keys.owner_of(headers.get("authorization"))
            if found is None:
                raise RequestError(
                    401,
                    "got no API key that is accepted; send the header Authorization: Bearer KEY",
                    code="invalid_api_key",
                )
            owner = found
        self._check_size(scope["method"], headers)
        return owner

    def _check_size(self, method: str, headers: Headers) -> None:
        if method in ("GET", "HEAD", "OPTIONS"):
            return
        length = headers.get("content-length") or ""
        if not (length.isascii() and length.isdigit()):
            raise RequestError(411, "got a body without Content-Length; send its length")
        if int(length) > self.max_bytes:
            raise RequestError(
                413, f"got a body of {int(length)} bytes; this gateway reads {self.max_bytes}"
            )


def error_response(error: RequestError) -> JSONResponse:
    """The response to a request that is refused, or that failed."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error), error.status, headers)
