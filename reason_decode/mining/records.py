"""What comes out of mining: a record of every rationale, kept or not and why."""

from dataclasses import asdict, dataclass
from typing import Any

from reason_decode.mining.documents import Dropped

__all__ = ["MiningResult", "Record", "to_row"]


@dataclass(frozen=True)
class Record:
    """A rationale, where it stands, and what became of it.

    Attributes:
        id: of its document.
        source: of its document.
        similarity: of its document to what is looked for; ``None`` without a prefilter.
        rationale: without its tags.
        stage: which stage decided.
        reason: why it is not kept; ``""`` if it is. What stands before a colon is the kind.
        place: which of its document's rationales it is; with ``id`` and ``source`` it names the
            record. ``None`` if it was taken out before they were counted, as for the next ones.
        preceding: the document before it.
        following: the document behind it, up to the next rationale.
        delta: see ``ScoredRationale``, in nats.
        mean: see ``ScoredRationale``, in nats.
        tokens: of ``following``.

    Example:
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
    place: int | None = None
    preceding: str | None = None
    following: str | None = None
    delta: float | None = None
    mean: float | None = None
    tokens: int = 0

    @property
    def kept(self) -> bool:
        """Whether it is worth training on."""
        return not self.reason


@dataclass(frozen=True)
class MiningResult:
    """A document that went through all stages.

    Attributes:
        id: names the document.
        source: the collection it is from.
        similarity: see ``Record``.
        records: of its rationales, in order; those taken out by earlier stages in the end.

    Example:
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

    Returns:
        ``id, source, similarity, stage, reason, records``; ``stage`` and ``reason`` say where and
        why the whole document was set aside, and are ``""`` for those that were not.

    Example:
        >>> from reason_decode.mining import MiningResult
        >>> to_row(MiningResult("1", "web", similarity=None, records=()))["reason"]
        ''
    """
    if isinstance(result, Dropped):
        document = result.document
        why = {"stage": result.stage, "reason": result.reason, "records": []}
        return {
            "id": document.id,
            "source": document.source,
            "similarity": document.similarity,
        } | why
    why = {"stage": "", "reason": "", "records": [asdict(x) for x in result.records]}
    return {"id": result.id, "source": result.source, "similarity": result.similarity} | why
