"""A model at an OpenAI-compatible server, which strategies take in the place of one loaded here."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.core.options import ServerName
from reason_decode.io.completions import ChatEndpoint, CompletionEndpoint
from reason_decode.io.http import TOTAL_TIMEOUT
from reason_decode.serving.engine_model import EngineModel
from reason_decode.serving.requests import Servers, Transport
from reason_decode.serving.servers import SERVERS, Server, check_server, find_server

__all__ = ["ServedModel"]


class ServedModel(EngineModel):
    r"""A model at an OpenAI-compatible server, for ``strategy.chat(model, messages)``.

    Strategies sample from it step by step, as from a model of transformers, by ``POST
    /completions``; at a server of chats alone (``server="chat"``) best-of-n and votes sample whole
    answers by ``POST /chat/completions``. Scorers run here. Prompts are rendered here, by the
    tokenizer. Options of ``generate`` that a call leaves out are the server's. A call draws the
    seeds of its requests from torch's random state, so that ``torch.manual_seed`` repeats it where
    the server keeps to seeds. Where a request fails, the others of the call are cancelled.

    Args:
        urls: address of the server, such as ``http://localhost:8000/v1``; or several, which share
            the prompts of a batch.
        name: the model's name at the server.
        tokenizer: the model's tokenizer.
        server: kind of server: "vllm", "sglang", "llama.cpp", "transformers", "openai" for any
            other, or "chat" for one that answers chats alone; "auto": as its ``/models`` says.
        concurrency: requests at a time, for each address.
        seeds: send a seed with each request.
        api_key_env: environment variable that holds the API key.
        attempts: attempts at one request.
        timeout: seconds without a byte from the server after which an attempt fails.
        total_timeout: seconds after which an attempt fails, whatever has come.
        extra_body: fields to add to every request, such as ``{"top_k": 20}``.
        sleep: function that waits for a number of seconds between attempts; for tests.

    Attributes:
        generation_config: has the tokenizer's end of sequence, and no length.

    Raises:
        ValueError: an address or a number is not allowed.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.serving import ServedModel
        >>> model = ServedModel("http://localhost:8000/v1", "tiny", tiny.load().tokenizer)
        >>> model.name
        'tiny'
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        server: ServerName = "auto",
        concurrency: int = 8,
        seeds: bool = True,
        api_key_env: str = "OPENAI_API_KEY",
        attempts: int = 6,
        timeout: float = 600.0,
        total_timeout: float = TOTAL_TIMEOUT,
        extra_body: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(name, tokenizer, seeds=seeds, extra_body=extra_body)
        self.urls = (urls,) if isinstance(urls, str) else tuple(urls)
        check_server(server)
        self._kind = server
        self._server: Server | None = None
        self._options: dict[str, Any] = {
            "api_key_env": api_key_env,
            "concurrency": concurrency,
            "attempts": attempts,
            "timeout": timeout,
            "total_timeout": total_timeout,
            "sleep": sleep,
        }
        if not self._endpoints(CompletionEndpoint):  # they check their addresses
            raise ValueError("got no address of a server; pass at least one")

    @property
    def server(self) -> Server:
        """The abilities of the servers; the first of them is asked, once.

        Raises:
            ConnectionError: it is down.
        """
        if self._server is None:
            options = self._options
            known = SERVERS.get(self._kind)
            self._server = known or find_server(
                self.urls[0], options["api_key_env"], options["timeout"]
            )
        return self._server

    def _transport(self) -> Transport:
        """The way of requests, for one call: it is closed where one fails."""
        kind = ChatEndpoint if self.server.chats else CompletionEndpoint
        return Servers(self._endpoints(kind), self._options["concurrency"] * len(self.urls))

    def _endpoints(self, kind: type[CompletionEndpoint]) -> list[CompletionEndpoint]:
        return [kind(url, self.name, **self._options) for url in self.urls]
