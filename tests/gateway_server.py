"""A gateway of the packaged model on loopback, in a thread of this process."""

import copy
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import openai
import uvicorn

from reason_decode.core.gateway_options import GatewayLimits, GatewayOptions
from reason_decode.serving.gateway import (
    ApiKeys,
    Gateway,
    LocalBackend,
    create_app,
    listen,
    local_hosts,
)
from reason_decode.tiny import Tiny

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
PUZZLE = "Make 24 from 4 5 6 10.\n"


class Served(NamedTuple):
    """A gateway, its address, and a client of it."""

    gateway: Gateway
    url: str
    client: openai.OpenAI


def tiny_backend(tiny: Tiny, options: GatewayOptions | None = None, scorer: Any = None) -> Any:
    """The packaged model with a chat template, its verifiers as scorers."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = TEMPLATE
    scorers = (tiny.prm, tiny.verifier) if scorer is None else (scorer, None)
    return LocalBackend(tiny.model, tokenizer, *scorers, options=options)


@contextmanager
def served(
    backend: Any,
    options: GatewayOptions | None = None,
    keys: ApiKeys | None = None,
    name: str = "tiny",
    **limits: int,
) -> Iterator[Served]:
    """A gateway of a backend.

    Args:
        backend: decodes.
        options: of the gateway; ``limits`` are fields of its limits.
        keys: of the clients.
        name: of the model.
    """
    options = options or GatewayOptions(limits=GatewayLimits(**limits))
    gateway = Gateway(backend, name, options)
    listening = listen("127.0.0.1", 0)
    app = create_app(gateway, keys, local_hosts("127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
    try:
        yield Served(gateway, url, client)
    finally:
        client.close()
        server.should_exit = True
        thread.join(10)
        listening.close()
