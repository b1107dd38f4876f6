"""Texts with rationales between tags, as a model wrote them or as a data set holds them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reason_decode.core.tags import TAGS, Tags
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped, parse_annotated

__all__ = ["annotated", "parse_tagged"]


def parse_tagged(
    documents: Iterable[Document], *, tags: Tags = TAGS
) -> Iterator[AnnotatedDocument | Dropped]:
    """Stage that reads documents whose text already contains rationales between tags.

    Args:
        documents: any number.
        tags: the tags around a rationale.

    Yields:
        The annotated document; or the document dropped because it has no rationale, or tags that do
        not pair.

    Examples:
        >>> from reason_decode.mining import Document, parse_tagged
        >>> [x.texts for x in parse_tagged([Document("1", "web", "2 + 3<BOT>Add.<EOT> is 5.")])]
        [('2 + 3', ' is 5.')]
    """
    for document in documents:
        found = annotated(document, document.text, tags)
        if isinstance(found, AnnotatedDocument):
            found = replace(found, document=replace(document, text="".join(found.texts)))
        yield found


def annotated(document: Document, text: str, tags: Tags) -> AnnotatedDocument | Dropped:
    """A document annotated with the rationales of a tagged text, or dropped for malformed tags.

    Args:
        document: the document without rationales.
        text: the same text with rationales between tags.
        tags: the tags around a rationale.
    """
    found, unclosed = parse_annotated(document.id, document.source, text, tags)
    unopened = sum(piece.count(tags.closing) for piece in found.texts)
    if unclosed or unopened:
        reason = f"malformed tags: {unclosed} never closed, {unopened} never opened"
        return Dropped(document, "extract", reason)
    if not found.rationales:
        return Dropped(document, "extract", "no rationale in the text")
    return replace(found, document=document)
