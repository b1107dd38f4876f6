"""A small server of OpenAI's form, on loopback, that does what a test wants."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a server does with the k-th request of a chat: a status and headers, or something worse.
Behaviour = Callable[[str, int], Any]


class QuietHandler(BaseHTTPRequestHandler):
    """Prints nothing, also where a connection is dropped."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # it dropped the connection itself, or the client did


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(
    behave: Behaviour,
    say: Callable[[dict[str, Any]], str] = lambda body: f"re: {body['prompt']}",
    choice: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: {},
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that answers "re: ..." unless told otherwise, and what it got.

    Args:
        behave: by the chat or prompt and how often it has been sent.
        say: continues a prompt, by the request's body.
        choice: what else stands in the answer, by the request's body.
    """
    got: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    lock = threading.Lock()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
            with lock:
                counts[chat] = counts.get(chat, 0) + 1
                count = counts[chat]
                got.append(body | {"path": self.path, "key": self.headers["Authorization"]})
            told = behave(chat, count)
            if told == "drop":
                self.connection.close()
                return
            if isinstance(told, tuple) and told[0] == "raw":
                if told[1] == "reset":
                    self.wfile.write(b"HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\nsome")
                    linger = struct.pack("ii", 1, 0)  # close() then resets the connection
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    self.wfile.write(told[1].encode())
                self.connection.close()
                return
            status, headers, end = told if isinstance(told, tuple) else (200, {}, "stop")
            message = {"role": "assistant", "content": f"re: {chat}"}
            said = {"text": say(body)} if "prompt" in body else {"message": message}
            usage = {"prompt_tokens": 3, "completion_tokens": 5}
            answer = {"choices": [{**said, "finish_reason": end, **choice(body)}], "usage": usage}
            texts = {"rubbish": "<html>", "deep": "[" * 200_000}
            data = texts.get(str(told), json.dumps(answer)).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if told == "short" else data)

    with listening(Handler) as url:
        yield f"{url}/v1", got


@contextmanager
def answering(answer: Callable[[str, dict[str, Any]], tuple[int, Any]]) -> Iterator[str]:
    """The address of a server whose answers are a function of path and body.

    Args:
        answer: returns the status and the JSON, or bytes, of an answer.
    """

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, made = answer(self.path, body)
            data = made if isinstance(made, bytes) else json.dumps(made).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with listening(Handler) as url:
        yield url
