"""llama.cpp's own server, from the package xllamacpp: ``python llama_cpp_server.py MODEL PORT``."""

import sys
import threading
from importlib import import_module
from typing import Any

xllamacpp: Any = import_module("xllamacpp")


def main(model: str, port: str) -> None:
    """Serve a GGUF model on loopback until the process is ended."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.n_parallel, params.n_ctx = 8, 8192
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
