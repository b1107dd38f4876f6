"""API keys of a gateway's clients; only digests of them are held."""

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from reason_decode.core.gateway_options import GatewayAccess

__all__ = ["ApiKeys", "load_api_keys"]


class ApiKeys:
    """The keys that are accepted.

    Args:
        keys: the keys.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def owner_of(self, authorization: str | None) -> str | None:
        """A word for the client that sends this header; ``None`` if its key is not accepted.

        Every key is compared, in constant time, so that the time tells nothing of them.

        Args:
            authorization: the header ``Authorization: Bearer KEY``.
        """
        scheme, _, key = (authorization or "").partition(" ")
        got = _digest(key.strip())
        same = [hmac.compare_digest(got, known) for known in self._digests]
        return got.hex()[:16] if any(same) and scheme.lower() == "bearer" else None


def load_api_keys(access: GatewayAccess) -> ApiKeys | None:
    """The keys of the options; ``None`` where none are asked for.

    Args:
        access: where the keys are.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no key there, or one that a header cannot hold; none is shown.
    """
    if access.client_key_env is not None:
        source = f"the environment variable {access.client_key_env}"
        words = os.environ.get(access.client_key_env, "").split(",")
    elif access.client_key_file is not None:
        source = access.client_key_file
        try:
            words = Path(source).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{source} is no text; write one key a line") from None
    else:
        return None
    keys = [word.strip() for word in words if word.strip()]
    if not keys:
        raise ValueError(f"got no key in {source}; put one there, or ask for none")
    if any(not key.isascii() or not key.isprintable() or " " in key for key in keys):
        raise ValueError(f"got a key in {source} with a character that no API key has")
    return ApiKeys(keys)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
