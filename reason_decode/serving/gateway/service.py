"""One request after another: planned, queued, decoded, counted, its trace kept."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reason_decode.core.errors import ScoringError
from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.core.messages import Prompt
from reason_decode.core.options import PLAIN
from reason_decode.io.oom import is_out_of_memory, release_memory
from reason_decode.serving.gateway.decoding import Backend, Decoded, DecodeRequest
from reason_decode.serving.gateway.errors import RequestError
from reason_decode.serving.gateway.metrics import GatewayMetrics
from reason_decode.serving.gateway.model_names import FORMS, parse_strategy_name
from reason_decode.serving.gateway.planning import plan_request
from reason_decode.serving.gateway.requests import ChatRequest, SamplingRequest
from reason_decode.serving.gateway.responses import Response
from reason_decode.serving.gateway.streaming import StopCutter
from reason_decode.serving.gateway.traces import TraceStore
from reason_decode.serving.gateway.worker import Cancelled, Job, QueueFull, Stopping, Worker

__all__ = ["Gateway", "Running"]

_log = logging.getLogger(__name__)
_RETRY_AFTER = 2  # seconds
CLIENT_LEFT = 499


class Running:
    """A request that waits for the model or is being decoded.

    Args:
        gateway: the gateway.
        request: what is decoded.
        response: the response's id and model.
        owner: whoever may read the trace.
    """

    def __init__(
        self, gateway: "Gateway", request: DecodeRequest, response: Response, owner: str
    ) -> None:
        self.gateway, self.request, self.response, self.owner = gateway, request, response, owner
        self.started = time.monotonic()
        self.cutter = StopCutter(request.stop)
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.job: Job | None = None

    @property
    def choices(self) -> int:
        """Number of answers that are returned."""
        return len(self.request.prompts) * self.request.choices

    def submit(self, prepared: Any, stream: bool) -> None:
        """Queue the request.

        Raises:
            RequestError: too many wait, or the gateway stops.
        """
        loop = asyncio.get_running_loop()
        emit: Callable[[str], None] | None = None
        if stream and self.choices == 1:

            def put(text: str) -> None:
                loop.call_soon_threadsafe(self.texts.put_nowait, text)

            emit = put

        backend = self.gateway.backend
        try:
            self.job = self.gateway.worker.submit(
                lambda job: backend.decode(prepared, job.check, emit)
            )
        except (QueueFull, Stopping) as error:
            raise self.gateway.failure(error) from error

    async def result(self) -> Decoded:
        """The answers, once they are decoded; they are counted, and their traces kept.

        Raises:
            RequestError: the decoding failed.
        """
        assert self.job is not None
        try:
            decoded = await asyncio.wrap_future(self.job.future)
            self.gateway.keep_traces(self, decoded)
        except asyncio.CancelledError:
            if not self.job.future.cancelled():
                raise
            raise self.gateway.failure(Cancelled()) from None  # while it was waiting
        except Exception as error:
            raise self.gateway.failure(error) from error
        return decoded

    def cancel(self) -> None:
        """End the decoding: the client has left."""
        if self.job is not None:
            self.job.cancel()

    def count(self, status: int) -> None:
        """Count the request."""
        seconds = time.monotonic() - self.started
        self.gateway.metrics.count(self.request.options.strategy, status, seconds)


class Gateway:
    """Everything of a gateway but its HTTP routes.

    Args:
        backend: decodes.
        served: name of the served model.
        options: defaults and limits of requests.

    Raises:
        ValueError: a strategy that is to be listed has no such name, or needs a scorer.
    """

    def __init__(self, backend: Backend, served: str, options: GatewayOptions) -> None:
        self.backend, self.served, self.options = backend, served, options
        self.names = _listed(served, options.strategies, backend.has_scorer)
        self.created = int(time.time())
        limits = options.limits
        self.worker = Worker(limits.max_waiting, backend.threads)
        self.traces = TraceStore(limits.max_traces, limits.max_trace_bytes)
        self.metrics = GatewayMetrics(
            lambda: self.worker.waiting, lambda: self.worker.running, lambda: len(self.traces)
        )
        # One thread: a tokenizer is not made for several.
        self._preparing = ThreadPoolExecutor(1)

    async def start(self, body: SamplingRequest, prompts: Sequence[Prompt], owner: str) -> Running:
        """A request that is checked and queued.

        Args:
            body: the request.
            prompts: its prompts.
            owner: whoever may read the trace.

        Raises:
            RequestError: it is refused.
        """
        chat = isinstance(body, ChatRequest)
        if chat and not self.backend.chat:
            raise RequestError(
                400,
                f"got a conversation for {self.served}, which has no chat template; use "
                "/v1/completions",
            )
        if self.worker.stopping:
            raise self.failure(Stopping())
        request = plan_request(body, prompts, self.options, self.served, self.backend.has_scorer)
        running = Running(self, request, Response(body.model, chat), owner)
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._preparing, self.backend.prepare, request)
        except Exception as error:
            raise self.failure(error) from error
        running.submit(prepared, bool(body.stream))
        return running

    def keep_traces(self, running: Running, decoded: Decoded) -> None:
        """Count the tokens of a request, and keep its traces."""
        self.metrics.count_tokens(decoded)
        if not decoded.traces:
            return
        response = running.response
        self.traces.add(
            response.id,
            running.owner,
            {
                "id": response.id,
                "model": response.model,
                "created": response.created,
                "cost": decoded.cost.to_dict(),
                "traces": [trace.to_dict() for trace in decoded.traces],
            },
        )

    def failure(self, error: Exception) -> RequestError:
        """The error as the client sees it; what is no fault of the client's is logged."""
        if isinstance(error, RequestError):
            return error
        if isinstance(error, QueueFull):
            return RequestError(
                429,
                f"got a request while {self.worker.max_waiting} wait for the model, which is as "
                "many as this gateway allows; try again later",
                code="too_many_requests",
                retry_after=_RETRY_AFTER,
            )
        if isinstance(error, Stopping):
            return RequestError(503, "the gateway is stopping", retry_after=_RETRY_AFTER)
        if isinstance(error, Cancelled):
            return RequestError(CLIENT_LEFT, "the client has left")
        if is_out_of_memory(error):
            release_memory()
            return RequestError(
                503, "the request does not fit into memory; ask for fewer or shorter candidates"
            )
        if isinstance(error, ValueError) and not isinstance(error, ScoringError):
            return RequestError(400, str(error))
        _log.error("a request failed", exc_info=error)
        if isinstance(error, ConnectionError):
            return RequestError(502, "a server that this gateway asks does not answer")
        return RequestError(500, "the request failed; the gateway's log says why")

    def stop(self) -> None:
        """Take no more requests, refuse those that wait, and let the one that runs end."""
        self.worker.drain()

    def close(self) -> None:
        """End whatever still runs."""
        self.worker.close()
        self._preparing.shutdown(wait=False, cancel_futures=True)


def _listed(served: str, strategies: Sequence[str], has_scorer: bool) -> list[str]:
    """The names that ``/v1/models`` lists."""
    scored = ("best-of-8", "step-search-4x4") if has_scorer else ()
    for name in strategies:
        options = parse_strategy_name(name)
        if options is None:
            raise ValueError(f"got the strategy {name!r}; need one of {FORMS}")
        plain = options["strategy"] in (*PLAIN, "self-consistency") and "weighted" not in options
        if not plain and not has_scorer:
            raise ValueError(f"got the strategy {name!r} without a scorer; name one (--scorer)")
    return [served, *(f"{name}/{served}" for name in strategies or ("vote-8", *scored))]
