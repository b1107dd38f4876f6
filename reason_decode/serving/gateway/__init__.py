r"""A gateway: strategies behind OpenAI's API.

`pip install 'reason-decode[serving]'`

```
reason-decode serve --model Qwen/Qwen2.5-1.5B-Instruct --scorer Qwen/Qwen2.5-Math-PRM-7B --port 8000
```

The same in Python, for an application of your own:

```python
from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.serving.gateway import Gateway, create_app, load_local_backend

backend = load_local_backend("tiny", GatewayOptions())
app = create_app(Gateway(backend, "tiny", backend.options))
```

- `create_app(gateway)`: the ASGI application, which any ASGI server runs
- `Gateway`: plans requests, queues them, counts them, keeps their traces
- `LocalBackend`: a model in this process; `UpstreamBackend`: one at a server; a class of your own
  that has the methods of `Backend` takes their place
- `load_api_keys`, `listen`, `run_server`: what the command does besides
"""

from reason_decode.serving.gateway.app import create_app
from reason_decode.serving.gateway.decoding import Backend, Choice, Decoded, DecodeRequest
from reason_decode.serving.gateway.keys import ApiKeys, load_api_keys
from reason_decode.serving.gateway.local import LocalBackend, load_local_backend, name_of_model
from reason_decode.serving.gateway.server import is_loopback, listen, local_hosts, run_server
from reason_decode.serving.gateway.service import Gateway
from reason_decode.serving.gateway.upstream import UpstreamBackend, load_upstream_backend

__all__ = [
    "ApiKeys",
    "Backend",
    "Choice",
    "DecodeRequest",
    "Decoded",
    "Gateway",
    "LocalBackend",
    "UpstreamBackend",
    "create_app",
    "is_loopback",
    "listen",
    "load_api_keys",
    "load_local_backend",
    "load_upstream_backend",
    "local_hosts",
    "name_of_model",
    "run_server",
]
