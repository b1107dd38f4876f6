"""The HTTP routes of a gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.responses import Response as HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from reason_decode.core.messages import Prompt
from reason_decode.core.solutions import Trace
from reason_decode.serving.gateway.errors import RequestError, error_body
from reason_decode.serving.gateway.guard import Guard, error_response
from reason_decode.serving.gateway.keys import ApiKeys
from reason_decode.serving.gateway.requests import (
    ChatRequest,
    CompletionRequest,
    SamplingRequest,
    describe_errors,
)
from reason_decode.serving.gateway.responses import DONE, event, model_list
from reason_decode.serving.gateway.service import CLIENT_LEFT, Gateway, Running
from reason_decode.viewer import TraceEntry, render_page

__all__ = ["create_app"]

# Proxies close a connection on which nothing comes for long; a comment is no event.
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = ": the answer is being decoded\n\n"


def create_app(
    gateway: Gateway, keys: ApiKeys | None = None, hosts: Collection[str] = ()
) -> FastAPI:
    """The ASGI application of a gateway.

    Args:
        gateway: answers the requests.
        keys: the keys of which a request needs one; ``None``: it needs none.
        hosts: names under which the gateway answers; empty: any.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        gateway.close()

    # The pages of FastAPI's own documentation load scripts from other servers.
    app = FastAPI(title="reason-decode", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(
        Guard, keys=keys, hosts=hosts, max_bytes=gateway.options.limits.max_request_bytes
    )
    _add_error_handlers(app)
    _add_completions(app, gateway)
    _add_traces(app, gateway)

    @app.get("/health")
    async def health() -> JSONResponse:
        stopping = gateway.worker.stopping
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    @app.get("/metrics")
    async def metrics() -> HttpResponse:
        return HttpResponse(gateway.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_completions(app: FastAPI, gateway: Gateway) -> None:
    """The routes of OpenAI's API."""

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": model_list(gateway.names, gateway.created)}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name not in gateway.names:
            raise RequestError(
                404, f"got the model {name!r:.80}; listed are {', '.join(gateway.names)}"
            )
        return model_list([name], gateway.created)[0]

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> HttpResponse:
        return await _answer(gateway, request, body, [body.messages])

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> HttpResponse:
        return await _answer(gateway, request, body, body.prompt)


def _add_traces(app: FastAPI, gateway: Gateway) -> None:
    """The routes of traces."""

    def record(id: str, request: Request) -> dict[str, Any]:
        found = gateway.traces.get(id, request.state.owner)
        if found is None:
            raise RequestError(
                404,
                f"got the id {id!r:.80}; no trace of it is kept: it is no request of a strategy "
                f"that compares candidates, or not one of the last {gateway.traces.max_entries}",
            )
        return found

    @app.get("/v1/traces/{id}")
    async def trace(id: str, request: Request) -> dict[str, Any]:
        return record(id, request)

    @app.get("/v1/traces/{id}/page")
    async def page(id: str, request: Request) -> HTMLResponse:
        found = record(id, request)
        entries = [TraceEntry(Trace.from_dict(x), id=k) for k, x in enumerate(found["traces"])]
        run = {"model": found["model"], "cost": found["cost"]}
        html = await asyncio.to_thread(render_page, entries, runs=[run], title=found["id"])
        return HTMLResponse(
            html, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        )


def _add_error_handlers(app: FastAPI) -> None:
    """Errors in the form of OpenAI's API."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        message, param = describe_errors(error.errors())
        return error_response(RequestError(400, message, param=param))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        path = f"{request.method} {request.url.path}"
        return error_response(RequestError(error.status_code, f"got {path:.200}: {error.detail}"))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return error_response(RequestError(500, "the request failed; the gateway's log says why"))


async def _answer(
    gateway: Gateway, request: Request, body: SamplingRequest, prompts: Sequence[Prompt]
) -> HttpResponse:
    """The response to a request for completions."""
    try:
        running = await gateway.start(body, prompts, request.state.owner)
    except RequestError as error:
        gateway.metrics.count("refused", error.status, 0.0)
        raise
    headers = {"X-Request-Id": running.response.id}
    if body.stream:
        include = body.stream_options is not None and bool(body.stream_options.include_usage)
        stream = _stream(running, include)
        # nginx would collect the events of a stream.
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
    leaving = asyncio.create_task(_cancel_when_left(request, running))
    status = CLIENT_LEFT
    try:
        decoded = await running.result()
        status = 200
        return JSONResponse(running.response.body(decoded), headers=headers)
    except RequestError as error:
        status = error.status
        raise
    finally:
        leaving.cancel()
        running.cancel()
        running.count(status)


async def _cancel_when_left(request: Request, running: Running) -> None:
    """Cancel a request when its client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    running.cancel()


async def _stream(running: Running, include_usage: bool) -> AsyncIterator[str]:
    """The events of a stream; closing it ends the decoding."""
    response, cutter = running.response, running.cutter
    status = CLIENT_LEFT
    result = asyncio.create_task(running.result())
    try:
        for chunk in response.opening(running.choices):
            yield event(chunk)
        async for text in _texts(running, result):
            if text is None:
                yield _KEEP_ALIVE
            elif ready := cutter.add(text):
                yield event(response.delta(ready))
        decoded = await result
        for chunk in response.closing(decoded, cutter.sent, include_usage):
            yield event(chunk)
        status = 200
        yield DONE
    except RequestError as error:
        # The status was sent before: the error is an event, as clients of OpenAI's API expect it.
        status = error.status
        yield event(error_body(error))
        yield DONE
    finally:
        result.cancel()
        running.cancel()
        running.count(status)


async def _texts(running: Running, result: "asyncio.Task[Any]") -> AsyncIterator[str | None]:
    """The texts of a stream until its result is there; ``None`` where none has come for long."""
    while not result.done():
        coming = asyncio.create_task(running.texts.get())
        done, _ = await asyncio.wait(
            {coming, result}, timeout=_KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if coming in done:
            yield coming.result()
            continue
        coming.cancel()
        if not done:
            yield None
    while not running.texts.empty():
        yield running.texts.get_nowait()
