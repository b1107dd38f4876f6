"""All stages in one go, over documents that may be half done."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.journal import Journal
from reason_decode.mining.records import MiningResult

__all__ = ["Stage", "mine", "through"]

# Gives one result for each item, in order: the item for the next stage, or a Dropped.
Stage = Callable[[Iterable[Any]], Iterator[Any]]


def mine(
    documents: Iterable[Document | Dropped],
    stages: Sequence[Stage],
    journal: Journal | None = None,
    *,
    first: Sequence[Stage] = (),
) -> Iterator[MiningResult | Dropped]:
    """The result of every document that the journal does not have yet, written into it.

    Killed at any moment and run again, it has given each document's result to the journal once. A
    ``Dropped`` that says ``again`` is not written, so that the next run takes it up.

    Args:
        documents: any number, the same in every run.
        stages: of which the last gives ``MiningResult``, as ``keep`` does.
        journal: what is done; ``None`` to begin afresh and write nothing.
        first: stages before these that must see all documents, done or not, such as ``dedup``.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import Document, dedup, faithful, given, mine
        >>> from reason_decode.mining import keep
        >>> models = tiny.load()
        >>> judged = lambda found: keep(found, models.model, models.tokenizer)
        >>> documents = [Document(name, "web", "2 + 3<BOT>Add.<EOT> is 5.") for name in "ab"]
        >>> found = mine(documents, [given, faithful, judged], first=[dedup])
        >>> [type(x).__name__ for x in found]
        ['MiningResult', 'Dropped']
    """
    met = through(documents, first)
    if journal is not None:
        met = (item for item in met if item not in journal)
    for result in through(met, stages):
        if journal is not None and not (isinstance(result, Dropped) and result.again):
            journal.write(result)
        yield result


def through(items: Iterable[Any], stages: Sequence[Stage]) -> Iterator[Any]:
    """Items through stage after stage, in order; what is dropped goes past the rest.

    Args:
        items: any number; read as results are asked for.
        stages: plain functions of an iterable, or generators.

    Example:
        >>> from reason_decode.mining import Document, through
        >>> shout = lambda found: (Document(x.id, x.source, x.text.upper()) for x in found)
        >>> [x.text for x in through([Document("1", "web", "a")], [shout])]
        ['A']
    """
    found: Iterator[Any] = iter(items)
    for stage in stages:
        found = _past(found, stage)
    return found


def _past(items: Iterator[Any], stage: Stage) -> Iterator[Any]:
    """The results of a stage, and what it need not see between them."""
    # Dropped items in their places; None stands for one that the stage has.
    places: deque[Dropped | None] = deque()

    def seen() -> Iterator[Any]:
        for item in items:
            if isinstance(item, Dropped):
                places.append(item)
            else:
                places.append(None)
                yield item

    for result in stage(seen()):
        while (dropped := places.popleft()) is not None:
            yield dropped
        yield result
    yield from (dropped for dropped in places if dropped is not None)
