"""Rationales written into documents by a chat model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from reason_decode.core.tags import TAGS, Tags
from reason_decode.io.openai_client import Messages, RequestFailed
from reason_decode.mining.config import Domain
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped
from reason_decode.mining.prompt import messages
from reason_decode.mining.tagged import annotated

__all__ = ["Complete", "extract"]

Complete = Callable[[Iterable[Messages]], Iterator[str | RequestFailed]]
"""Chats -> one answer each, in order. It may read chats ahead of the answers that it has given."""


def extract(
    documents: Iterable[Document],
    complete: Complete,
    *,
    domain: Domain | Mapping[str, Domain] = "general",
    tags: Tags = TAGS,
) -> Iterator[AnnotatedDocument | Dropped]:
    """Stage that has a chat model write rationales into each document.

    Args:
        documents: any number; read as the model asks for more.
        complete: a ``ChatModel``, a ``ChatEndpoint``, or any function of chats.
        domain: worked examples that the model is shown: one domain, or source -> domain.
        tags: the tags that the model puts around a rationale.

    Yields:
        The annotated document; or the document dropped because the request failed, its text has
        such tags already, or the answer has no rationale or tags that do not pair.

    Raises:
        ValueError: there is no such domain.

    Source: RATIONALYST, section 3 (arXiv 2410.01044), with a prompt of our own.

    Examples:
        >>> from reason_decode.mining import Document, extract
        >>> answer = lambda chats: ("2 + 3<BOT>Add them.<EOT> is 5." for _ in chats)
        >>> [x.rationales for x in extract([Document("1", "web", "2 + 3 is 5.")], answer)]
        [('Add them.',)]
    """
    # Documents in their order, up to the answer that is waited for: those that a chat was made of,
    # and dropped ones that were never asked about.
    pending: deque[Document | Dropped] = deque()

    def chats() -> Iterator[Messages]:
        for document in documents:
            if tags.opening in document.text or tags.closing in document.text:
                pending.append(Dropped(document, "extract", "the text already has such tags"))
            else:
                pending.append(document)
                yield messages(document, domain, tags)

    for answer in complete(chats()):
        yield from _leading_dropped(pending)
        document = pending.popleft()
        assert isinstance(document, Document)
        if isinstance(answer, RequestFailed):
            yield Dropped(document, "extract", answer.reason, answer.retryable)
        else:
            yield annotated(document, answer, tags)
    yield from _leading_dropped(pending)


def _leading_dropped(pending: deque[Document | Dropped]) -> Iterator[Dropped]:
    """Remove and yield the dropped documents at the front of the queue."""
    while pending and isinstance(front := pending[0], Dropped):
        pending.popleft()
        yield front
