"""Results of mining: one record per rationale, kept or rejected with a reason."""

from dataclasses import asdict, dataclass
from typing import Any

from reason_decode.mining.documents import Dropped

__all__ = ["MiningResult", "Record", "to_row"]


@dataclass(frozen=True)
class Record:
    """A rationale, its place in the document, and the outcome.

    Attributes:
        id: id of the document.
        source: source of the document.
        similarity: cosine of the document to the nearest reference set; ``None`` without a
            prefilter.
        rationale: the rationale without its tags.
        stage: name of the stage that decided.
        reason: why the rationale was rejected; ``""`` if it is kept. The part before a colon is the
            kind of reason.
        index: index of the rationale in its document; with ``id`` and ``source`` it identifies the
            record. ``None`` for rationales rejected before the loss was measured, which also have
            no ``preceding``, ``following``, ``delta`` and ``mean_delta``.
        preceding: the document before the rationale.
        following: the piece of text after it, up to the next rationale.
        delta: ``ScoredRationale.delta``, in nats.
        mean_delta: ``ScoredRationale.mean_delta``, in nats.
        tokens: number of tokens of ``following``.

    Examples:
        >>> from reason_decode.mining import Record
        >>> Record("1", "web", 0.4, "It is known already.", "faithful", "leak: the answer").kept
        False
    """

    id: str
    source: str
    similarity: float | None
    rationale: str
    stage: str
    reason: str
    index: int | None = None
    preceding: str | None = None
    following: str | None = None
    delta: float | None = None
    mean_delta: float | None = None
    tokens: int = 0

    @property
    def kept(self) -> bool:
        """True if no stage rejected the rationale."""
        return not self.reason


@dataclass(frozen=True)
class MiningResult:
    """A document that passed all stages, with the records of its rationales.

    Attributes:
        id: id of the document.
        source: source of the document.
        similarity: cosine to the nearest reference set; ``None`` without a prefilter.
        records: a record per rationale, in order; last, those that earlier stages rejected.

    Examples:
        >>> from reason_decode.mining import MiningResult
        >>> MiningResult("1", "web", similarity=None, records=()).records
        ()
    """

    id: str
    source: str
    similarity: float | None
    records: tuple[Record, ...]


def to_row(result: MiningResult | Dropped) -> dict[str, Any]:
    """A document's result as one JSON object.

    Args:
        result: the result of the document.

    Returns:
        ``{"id", "source", "similarity", "stage", "reason", "records"}``; ``stage`` and ``reason``
        say where and why the document was dropped, and are ``""`` for a ``MiningResult``.

    Examples:
        >>> from reason_decode.mining import MiningResult
        >>> to_row(MiningResult("1", "web", similarity=None, records=()))["reason"]
        ''
    """
    dropped = isinstance(result, Dropped)
    document = result.document if dropped else result
    return {
        "id": document.id,
        "source": document.source,
        "similarity": document.similarity,
        "stage": result.stage if dropped else "",
        "reason": result.reason if dropped else "",
        "records": [] if dropped else [asdict(record) for record in result.records],
    }
