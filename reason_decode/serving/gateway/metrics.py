"""Metrics of a gateway in the form of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reason_decode.serving.gateway.decoding import Decoded

__all__ = ["GatewayMetrics"]

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class GatewayMetrics:
    """Counters of one gateway, in a registry of its own.

    Args:
        waiting: returns the number of requests that wait.
        running: returns the number of requests that run.
        traces: returns the number of kept traces.
    """

    def __init__(
        self, waiting: Callable[[], int], running: Callable[[], int], traces: Callable[[], int]
    ) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "reason_decode_requests",
            "Requests by strategy and HTTP status (499: the client left)",
            ("strategy", "status"),
            registry=self.registry,
        )
        self._tokens = Counter(
            "reason_decode_tokens",
            "Tokens: of prompts and returned answers, and through forward passes by role",
            ("role",),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "reason_decode_request_seconds",
            "Seconds from a request to its answer, by strategy",
            ("strategy",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        for name, text, value in (
            ("waiting", "Requests that wait for the model", waiting),
            ("running", "Requests that run", running),
            ("traces", "Requests whose traces are kept", traces),
        ):
            gauge = Gauge(f"reason_decode_{name}", text, registry=self.registry)
            gauge.set_function(value)

    def count(self, strategy: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(strategy, str(status)).inc()
        self._seconds.labels(strategy).observe(seconds)

    def count_tokens(self, decoded: Decoded) -> None:
        """Count the tokens of a request."""
        returned = sum(choice.tokens for group in decoded.choices for choice in group)
        roles = {"prompt": decoded.prompt_tokens, "returned": returned}
        for role, tokens in (roles | vars(decoded.cost)).items():
            self._tokens.labels(role).inc(tokens)

    def text(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self.registry)
