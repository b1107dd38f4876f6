"""What goes from stage to stage: texts with rationales between their pieces."""

from dataclasses import dataclass

from reason_decode.core.tags import TAGS, Tags

__all__ = ["AnnotatedDocument", "Document", "Dropped", "parse_marked"]


@dataclass(frozen=True)
class Document:
    """A text before any rationale is in it.

    Attributes:
        id: names the document; unique in its source.
        source: what collection it is from, such as ``"gsm8k"``.
        text: the text.
        answer: what a problem's solution comes to, which no rationale may give away; ``None`` where
            there is no such thing.
        similarity: the cosine to what is looked for, by the prefilter; ``None`` before that.

    Example:
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
        document: as it came to the stage.
        stage: which one.
        reason: why; what stands before a colon is the kind of reason, and is counted.
        again: whether the fault is not the document's (an endpoint that is down), so that the next
            run takes it up again.

    Example:
        >>> from reason_decode.mining import Document, Dropped
        >>> Dropped(Document("1", "web", "2"), "dedup", "near duplicate: 0 of web").again
        False
    """

    document: Document
    stage: str
    reason: str
    again: bool = False


@dataclass(frozen=True)
class AnnotatedDocument:
    """A text and the rationales that were put into it.

    Attributes:
        id: names the document; unique in its source.
        source: what collection it is from, such as ``"gsm8k"``.
        texts: the text, cut where rationales stand: one piece more than there are rationales.
        rationales: the i-th stands before ``texts[i + 1]``.
        document: what it was made of, where that is known.
        rejected: rationales that a stage took out again, each with its reason.

    Raises:
        ValueError: the pieces and the rationales do not alternate.

    Example:
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
        """The text before a rationale, earlier rationales left out."""
        return "".join(self.texts[: index + 1])


def parse_marked(
    id: str, source: str, text: str, tags: Tags = TAGS
) -> tuple[AnnotatedDocument, int]:
    """A text whose rationales stand between tags, and how many opening tags nothing closes.

    What follows such a tag up to the next one is text, and the tag is dropped.

    Args:
        id: names the document.
        source: the collection it is from.
        text: as a language model wrote it.
        tags: what stands around a rationale.

    Source: the segmentation of RATIONALYST's filter (JHU-CLSP/RATIONALYST at be0b1cf), which skips
    an unclosed rationale together with the text behind it.

    Example:
        >>> from reason_decode.mining import parse_marked
        >>> marked, unclosed = parse_marked("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> marked.texts, marked.rationales, unclosed
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
