"""Client of servers that run a reward model: the outputs of its head for token ids (vLLM)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from reason_decode.io.openai_client import FATAL_STATUSES, Endpoint, RequestFailed

__all__ = ["ClassifyEndpoint", "HeadOutputs", "PoolingEndpoint"]


_ADVICE = (
    "start the server for a reward model (vllm serve MODEL --runner pooling), and check the name "
    "of the model against its /v1/models"
)


class HeadOutputs(NamedTuple):
    """The outputs of a reward head.

    Attributes:
        rows: one row a token, or one row alone, each with an output a label.
    """

    rows: list[list[float]]


class PoolingEndpoint(Endpoint):
    """Asks for the outputs of a reward head at every token by ``POST /pooling``.

    An item is a list of token ids, an answer its ``HeadOutputs``. The server is asked for the
    outputs themselves, without softmax or sigmoid.

    Args:
        base_url: address of the server, such as ``http://localhost:8000``, with ``/v1`` or without.
        model: name of the model at the server.
        extra_body: fields to add to every request.
        options: the other arguments of ``Endpoint``, such as ``concurrency``.
    """

    path = "/pooling"
    advice: ClassVar[Mapping[int, str]] = {**FATAL_STATUSES, 404: _ADVICE, 405: _ADVICE}
    fields: ClassVar[Mapping[str, Any]] = {"task": "token_classify"}

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        extra_body: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(base_url.rstrip("/").removesuffix("/v1"), model, **options)
        # Without the options of sampling that other requests have.
        self.body = {"model": model, "use_activation": False, **self.fields, **(extra_body or {})}

    def _request_fields(self, item: Sequence[int]) -> dict[str, Any]:
        return {"input": list(item)}

    def _parse_answer(self, response: Any) -> HeadOutputs | RequestFailed:
        try:
            rows = self._rows(response["data"][0])
            if not isinstance(rows, list) or not rows:
                raise TypeError
            # A head of one label may come without the axis of its labels.
            table = [row if isinstance(row, list) else [row] for row in rows]
            labels = len(table[0])
            numbers = [x for row in table for x in row]
            if not labels or any(len(row) != labels for row in table):
                raise TypeError
            if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
                raise TypeError
        except (IndexError, KeyError, TypeError):
            raise ValueError(f"no outputs of a head: {str(response)[:200]}") from None
        if not all(map(math.isfinite, numbers)):
            return RequestFailed("not finite: the head's outputs hold NaN or infinity")
        return HeadOutputs(table)

    def _rows(self, answer: Any) -> Any:
        """The rows of an answer, not yet checked."""
        return answer["data"]


class ClassifyEndpoint(PoolingEndpoint):
    """Asks for the outputs at the last token by ``POST /classify``; see ``PoolingEndpoint``."""

    path = "/classify"
    fields: ClassVar[Mapping[str, Any]] = {}

    def _rows(self, answer: Any) -> Any:
        return [answer["probs"]]
