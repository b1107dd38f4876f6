"""Errors of the gateway, in the form of OpenAI's API."""

from typing import Any

__all__ = ["RequestError", "error_body"]

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RequestError(Exception):
    """A request that is refused, or that failed.

    Args:
        status: the HTTP status.
        message: says what was got and what is allowed.
        param: name of the request's field; ``None``: none, or several.
        code: a word for programs.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after


def error_body(error: RequestError) -> dict[str, Any]:
    """The JSON of an error."""
    kind = _TYPES.get(error.status)
    if kind is None:
        kind = "invalid_request_error" if error.status < 500 else "server_error"
    # A message shows what was got, which may hold half a character: no UTF-8 has that.
    message = str(error).encode(errors="replace").decode()
    return {
        "error": {"message": message, "type": kind, "param": error.param, "code": error.code},
    }
