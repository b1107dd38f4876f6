"""A server of completions and chats on loopback that goes on by a function of the test."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from tests.server import QuietHandler, listening

Continue = Callable[[dict[str, Any], list[int], int], list[int]]
"""A request's body, the ids of its prompt and the index of the choice -> all ids that follow."""


@dataclass
class Served:
    """A running server.

    Attributes:
        url: its address.
        bodies: the requests that it got.
        unread: streams that the client closed before their end.
        sampled: tokens of all its completions.
    """

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    unread: int = 0
    sampled: int = 0


@cache
def greedily(model: Any, most: int = 48) -> Continue:
    """Continues a prompt as greedy decoding of a model does, up to a number of tokens.

    What was decoded once is remembered, so that a later step costs nothing.
    """
    lock, known = threading.Lock(), list[list[int]]()

    def go_on(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        assert body["temperature"] == 0.0
        with lock:
            for found in known:
                if len(found) > len(ids) and found[: len(ids)] == ids:
                    return found[len(ids) :]
            rows = torch.tensor([ids])
            known.append(
                model.generate(
                    input_ids=rows,
                    attention_mask=torch.ones_like(rows),
                    max_new_tokens=most,
                    do_sample=False,
                )[0].tolist()
            )
            return known[-1][len(ids) :]

    return go_on


@contextmanager
def completions(
    go_on: Continue,
    tokenizer: Any,
    owner: str = "vllm",
    behave: Callable[[int], Any] = lambda count: None,
    most: int = 64,
    models: int = 200,
) -> Iterator[Served]:
    """A server that answers as one of a kind does.

    Args:
        go_on: continues a prompt.
        tokenizer: that of the server's model.
        owner: what its ``/models`` says: "vllm" returns ids and keeps stop strings, "me" does what
            transformers does, others cut the stop string off.
        behave: given the number of the request, a status other than 200 to answer with, "drop", or
            "rubbish".
        most: most completions of an answer.
        models: the status of its ``/models``.
    """
    made, lock = Served(), threading.Lock()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self._send(models, json.dumps({"data": [{"id": "m", "owned_by": owner}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                made.bodies.append(body)
                count = len(made.bodies)
            told = behave(count)
            if told == "drop":
                self.connection.close()
            elif told is not None:
                self._send(told if isinstance(told, int) else 200, "<html>")
            elif body.get("stream"):
                self._stream(body)
            else:
                self._answer(body)

        def _answer(self, body: dict[str, Any]) -> None:
            choices = [self._choice(body, k) for k in range(min(most, body.get("n", 1)))]
            prompt, sampled = len(_ids(tokenizer, body)), sum(x.pop("count") for x in choices)
            made.sampled += sampled
            usage = {"prompt_tokens": prompt, "completion_tokens": sampled}
            self._send(200, json.dumps({"choices": choices, "usage": usage}))

        def _choice(self, body: dict[str, Any], index: int) -> dict[str, Any]:
            ids, end, stop = self._ids(body, index)
            text = tokenizer.decode(ids, skip_special_tokens=True)
            if stop and owner == "vllm":
                text = text[: text.index(stop) + len(stop)]
            elif stop and owner != "me":
                text = text[: text.index(stop)]
            known = {"token_ids": ids} if body.get("return_token_ids") else {}
            if body.get("logprobs"):
                tops = [{"a": -0.5, "b": -1.5} for _ in ids]
                stats = {"token_logprobs": [-0.5 - index for _ in ids], "top_logprobs": tops}
                known |= {"logprobs": stats}
            if "messages" in body:
                known = {"message": {"role": "assistant", "content": text}}
            count = {"text": text, "finish_reason": end, "index": index, "count": len(ids)}
            return {**count, **known}

        def _ids(self, body: dict[str, Any], index: int) -> tuple[list[int], str, str]:
            """The ids up to the first stop string, the reason of their end, and that string."""
            ids = go_on(body, _ids(tokenizer, body), index)
            for k in range(1, min(len(ids), body["max_tokens"]) + 1):
                text = tokenizer.decode(ids[:k], skip_special_tokens=True)
                stop = next((x for x in body.get("stop", ()) if x in text), "")
                if stop or ids[k - 1] == tokenizer.eos_token_id:
                    return ids[:k], "stop", stop
            return ids[: body["max_tokens"]], "length", ""

        def _stream(self, body: dict[str, Any]) -> None:
            ids, end, _ = self._ids(body, 0)
            self.send_response(200)
            self.end_headers()
            try:
                for k in range(len(ids)):
                    made.sampled += 1
                    text, before = (
                        tokenizer.decode(ids[:j], skip_special_tokens=True) for j in (k + 1, k)
                    )
                    last = end if k + 1 == len(ids) else None
                    choice = {"text": text[len(before) :], "finish_reason": last}
                    if body.get("return_token_ids"):
                        choice["token_ids"] = [ids[k]]
                    self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                made.unread += 1

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    with listening(Handler) as url:
        made.url = f"{url}/v1"
        yield made


def _ids(tokenizer: Any, body: dict[str, Any]) -> list[int]:
    if "messages" in body:
        return tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True)[
            "input_ids"
        ]
    prompt = body["prompt"]
    return tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
