"""``reason-decode serve``: an OpenAI-compatible gateway."""

import sys
from collections.abc import Sequence

from reason_decode.cli.serve_configs import ServeConfig

__all__ = ["run"]


def run(config: ServeConfig, argv: Sequence[str]) -> int:
    """Load the model, answer requests until SIGTERM or Ctrl-C, and let what runs end."""
    try:
        from reason_decode.serving.gateway import (
            Gateway,
            create_app,
            is_loopback,
            listen,
            load_api_keys,
            load_local_backend,
            load_upstream_backend,
            local_hosts,
            name_of_model,
            run_server,
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("reason_decode"):
            raise
        raise ImportError(
            f"serve needs {error.name}: pip install 'reason-decode[serving]'"
        ) from error

    # What cannot work is said before the model is loaded.
    if config.engine.engine == "vllm":
        raise ValueError(
            "got engine=vllm, which answers one call at a time; start `vllm serve`, and pass its "
            "address as engine"
        )
    keys = load_api_keys(config.access)
    name = name_of_model(config.model, config.gateway)
    with listen(config.host, config.port) as listening:
        if config.engine.urls:
            backend = load_upstream_backend(config.model, config.gateway, config.engine)
        else:
            backend = load_local_backend(config.model, config.gateway, config.loading)
        gateway = Gateway(backend, name, backend.options)
        hosts = local_hosts(config.host) if keys is None else ()
        app = create_app(gateway, keys, hosts)
        port = listening.getsockname()[1]
        print(f"{', '.join(gateway.names)} at http://{config.host}:{port}/v1", flush=True)
        if keys is None and not is_loopback(config.host):
            print(
                f"anybody who reaches {config.host} can use the model; --client-key-env or "
                "--client-key-file asks for keys",
                file=sys.stderr,
            )
        run_server(app, gateway, listening, stop_timeout=config.stop_timeout)
    return 0
