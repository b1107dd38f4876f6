"""Documents as they pass from stage to stage: raw, annotated with rationales, or dropped."""

from dataclasses import dataclass

from reason_decode.core.tags import TAGS, Tags

__all__ = ["AnnotatedDocument", "Document", "Dropped", "parse_annotated"]


@dataclass(frozen=True)
class Document:
    """A text without rationales.

    Attributes:
        id: name of the document, unique within its source.
        source: name of the collection that it is from, such as ``"gsm8k"``.
        text: the text.
        answer: final answer of a problem's solution, which no rationale may give away; ``None``
            for texts without one.
        similarity: cosine to the nearest reference set; ``None`` before the prefilter.

    Examples:
        >>> from reason_decode.mining import Document
        >>> Document("1", "web", "2 + 3 is 5.", answer="5").similarity is None
        True
    """

    id: str
    source: str
    text: str
    answer: str | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Dropped:
    """A document that a stage set aside.

    Attributes:
        document: the document as it entered the stage.
        stage: name of the stage.
        reason: why; the part before a colon is the kind of reason, and is counted.
        retryable: True if the fault is not the document's (the endpoint is down, memory ran out),
            so that the next run tries it again.

    Examples:
        >>> from reason_decode.mining import Document, Dropped
        >>> Dropped(Document("1", "web", "2"), "dedup", "near duplicate: 0 of web").retryable
        False
    """

    document: Document
    stage: str
    reason: str
    retryable: bool = False


@dataclass(frozen=True)
class AnnotatedDocument:
    """A text cut into pieces, with a rationale between every two pieces.

    Attributes:
        id: name of the document, unique within its source.
        source: name of the collection that it is from, such as ``"gsm8k"``.
        texts: the pieces of the text, one more than there are rationales.
        rationales: the rationales; the i-th one is for ``texts[i + 1]``.
        document: the document that was annotated, if it is known.
        rejected: rationales that a stage took out, each with the reason.

    Raises:
        ValueError: the number of pieces is not the number of rationales plus 1.

    Examples:
        >>> from reason_decode.mining import AnnotatedDocument
        >>> AnnotatedDocument("1", "web", ("2 + 3", " is 5."), ("Add them.",)).preceding(0)
        '2 + 3'
    """

    id: str
    source: str
    texts: tuple[str, ...]
    rationales: tuple[str, ...]
    document: Document | None = None
    rejected: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.rationales) + 1:
            raise ValueError(
                f"got {len(self.texts)} pieces of text and {len(self.rationales)} rationales in "
                f"{self.id}; there must be one piece more than there are rationales"
            )

    def preceding(self, index: int) -> str:
        """The text before a rationale, without the earlier rationales."""
        return "".join(self.texts[: index + 1])


def parse_annotated(
    id: str, source: str, text: str, tags: Tags = TAGS
) -> tuple[AnnotatedDocument, int]:
    """Split a text at its tagged rationales; also count the opening tags that are never closed.

    An opening tag without a closing one is removed, and the text after it stays text.

    Args:
        id: name of the document.
        source: name of the collection that it is from.
        text: a text with rationales between tags, as a language model wrote it.
        tags: the tags around a rationale.

    Returns:
        The annotated document, and the number of unclosed tags.

    Source: the segmentation of RATIONALYST's filter (JHU-CLSP/RATIONALYST at be0b1cf), which drops
    the text after an unclosed tag together with the rationale.

    Examples:
        >>> from reason_decode.mining import parse_annotated
        >>> annotated, unclosed = parse_annotated("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> annotated.texts, annotated.rationales, unclosed
        (('2 + 3', ' is 5.'), ('Add them.',), 0)
    """
    first, *rest = text.split(tags.opening)
    texts, rationales, unclosed = [first], [], 0
    for part in rest:
        rationale, closed, following = part.partition(tags.closing)
        if closed:
            rationales.append(rationale)
            texts.append(following)
        else:
            texts[-1] += part
            unclosed += 1
    return AnnotatedDocument(id, source, tuple(texts), tuple(rationales)), unclosed
