"""A model at an OpenAI-compatible server as the backend of a gateway; scorers run here."""

from collections.abc import Callable
from typing import Any

from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.core.options import EngineOptions
from reason_decode.scorers.loading import check_scorer_name
from reason_decode.serving.from_options import served_model
from reason_decode.serving.gateway.decoding import DecodeRequest
from reason_decode.serving.gateway.local import LocalBackend, PreparedCall, load_scorers

__all__ = ["UpstreamBackend", "load_upstream_backend"]


class UpstreamBackend(LocalBackend):
    """A ``Backend`` of a model at a server; prompts are rendered and candidates chosen here.

    Several requests are decoded side by side. They share torch's random state, so that a seed
    decides an answer only where one request is decoded at a time.

    Args:
        model: a ``ServedModel``.
        threads: requests that are decoded side by side.
        arguments: those of ``LocalBackend``.
    """

    def __init__(self, model: Any, threads: int, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self._threads = threads

    @property
    def threads(self) -> int:
        """Number of requests that are decoded side by side."""
        return self._threads

    def generate(
        self, prepared: PreparedCall, strategy: Any, check: Callable[[], None], streamer: Any
    ) -> Any:
        """The output of ``ServedModel.generate``; plain decoding is not streamed."""
        return self.model.generate(
            **prepared.inputs,
            **prepared.arguments,
            custom_generate=strategy,
            stop_strings=list(prepared.request.stop) or None,
            check=check,
            return_dict_in_generate=True,
        )

    def longest_answer(self, width: int, request: DecodeRequest) -> int:
        """Tokens of an answer, at most; the server knows how many positions its model has."""
        return request.options.max_new_tokens or 1


def load_upstream_backend(
    name: str, options: GatewayOptions, engine: EngineOptions
) -> UpstreamBackend:
    """The backend of a model at a server, with its tokenizer and scorer loaded here.

    Args:
        name: the model's name at the server.
        options: the scorer, and how prompts are rendered.
        engine: the server.

    Raises:
        OSError: there is no such tokenizer or scorer.
        ValueError: options do not go together.
    """
    if options.scoring.scorer is not None:
        check_scorer_name(options.scoring.scorer)
    model, tokenizer = served_model(name, engine)
    step, whole = load_scorers(options, None)
    return UpstreamBackend(model, engine.concurrency, tokenizer, step, whole, options=options)
