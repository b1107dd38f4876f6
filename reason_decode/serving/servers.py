"""Kinds of OpenAI-compatible servers: what each of them can do beside OpenAI's own API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, get_args
from urllib import error

from reason_decode.core.options import ServerName
from reason_decode.io.http import JsonClient

__all__ = ["SERVERS", "Server", "check_server", "find_server"]


@dataclass(frozen=True)
class Server:
    """The abilities of a kind of server.

    Args:
        takes_ids: a prompt may be token ids, which no tokenizer reads again.
        keeps_stops: a completion that a stop string ended has it at its end. Else its text does not
            say whether a stop string or the end of sequence ended it, and steps are streamed.
        takes_n: a request may ask for several completions.
        fields: further fields of each request, such as those that ask for token ids.
        all_tokens: options under which tokens are drawn from the whole vocabulary, which servers do
            not do by themselves.
        names: the server's names of options of ``generate``.
        logps: number of likeliest tokens whose log-probabilities a request may ask for; 0: none.
        chats: it answers conversations as a whole (``/chat/completions``), and continues no text.
    """

    takes_ids: bool = False
    keeps_stops: bool = False
    takes_n: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    all_tokens: Mapping[str, Any] = field(default_factory=lambda: {"top_p": 1.0})
    names: Mapping[str, str] = field(default_factory=dict)
    logps: int = 0
    chats: bool = False


SERVERS: Mapping[str, Server] = {
    "vllm": Server(
        takes_ids=True,
        keeps_stops=True,
        takes_n=True,
        fields={
            "return_token_ids": True,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        },
        all_tokens={"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
        logps=20,
    ),
    "sglang": Server(
        takes_ids=True,
        keeps_stops=True,
        takes_n=True,
        fields={"return_token_ids": True, "no_stop_trim": True, "skip_special_tokens": False},
        all_tokens={"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    ),
    "llama.cpp": Server(
        takes_ids=True,
        takes_n=True,
        # Token ids are told beside log-probabilities alone.
        fields={"logprobs": 1},
        all_tokens={"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
        names={"repetition_penalty": "repeat_penalty"},
        logps=20,
    ),
    # It refuses a request with fields that OpenAI's API has not.
    "transformers": Server(keeps_stops=True),
    "openai": Server(),
    "chat": Server(chats=True),
}
_OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}


def check_server(name: str) -> None:
    """Raise unless there is such a kind of server.

    Raises:
        ValueError: there is none.
    """
    if name not in get_args(ServerName):
        raise ValueError(f"got server={name!r}; need one of {', '.join(get_args(ServerName))}")


def find_server(url: str, api_key_env: str, timeout: float) -> Server:
    """The kind of server at an address, by the owner that its ``/models`` names.

    ``openai``, which uses nothing beside OpenAI's API, where it names none that is known.

    Args:
        url: address of the server, such as ``http://localhost:8000/v1``.
        api_key_env: environment variable that holds the API key.
        timeout: seconds to wait for the answer.

    Raises:
        ConnectionError: the server is down, or not up yet.
    """
    client = JsonClient(f"{url.rstrip('/')}/models", api_key_env, timeout, timeout)
    try:
        models = client.post(None)["data"]
        owners = [str(model.get("owned_by")) for model in models]
    except error.HTTPError as failure:
        # Gateways and servers that load a model answer so. Other 5xx are faults of /models alone:
        # `transformers serve` has one where there is no folder of the Hub.
        if failure.code in (502, 503, 504):
            raise ConnectionError(
                f"{client.url} answers HTTP {failure.code}: {client.detail(failure)}; wait "
                "until the server is up"
            ) from failure
        owners = []
    except (OSError, HTTPException) as failure:
        raise ConnectionError(
            f"no answer from {client.url} ({client.safe(str(failure))}); start the server, or "
            "check the address, which ends in /v1"
        ) from failure
    except (AttributeError, KeyError, TypeError, ValueError):
        owners = []
    return SERVERS[next((_OWNERS[x] for x in owners if x in _OWNERS), "openai")]
