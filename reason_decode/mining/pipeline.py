"""Stages chained over a stream of documents, with a journal of the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.journal import MiningJournal
from reason_decode.mining.results import MiningResult

__all__ = ["Stage", "mine", "run_stages"]

Stage = Callable[[Iterable[Any]], Iterator[Any]]
"""Items -> one result per item, in order: the item for the next stage, or a ``Dropped``."""


def mine(
    documents: Iterable[Document | Dropped],
    stages: Sequence[Stage],
    journal: MiningJournal | None = None,
    *,
    global_stages: Sequence[Stage] = (),
) -> Iterator[MiningResult | Dropped]:
    """Run documents through stages, and write each result to a journal; skip what is done.

    If a run is killed and started again, every document has one result in the journal. A
    ``Dropped`` that is ``retryable`` is not written, so that the next run tries it again.

    Args:
        documents: any number, the same in every run.
        stages: the last one yields ``MiningResult``, as ``filter_rationales`` does.
        journal: results of earlier runs, and of this one; ``None`` to keep none.
        global_stages: stages before ``stages`` that must see all documents, done or not, such as
            ``dedup``.

    Yields:
        The results of the documents that the journal did not have, in order.

    Examples:
        >>> from functools import partial
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import Document, dedup, faithful, mine, parse_tagged
        >>> from reason_decode.mining import filter_rationales
        >>> t = tiny.load()
        >>> last = partial(filter_rationales, model=t.model, tokenizer=t.tokenizer)
        >>> documents = [Document(name, "web", "2 + 3<BOT>Add.<EOT> is 5.") for name in "ab"]
        >>> found = mine(documents, [parse_tagged, faithful, last], global_stages=[dedup])
        >>> [type(x).__name__ for x in found]
        ['MiningResult', 'Dropped']
    """
    items = run_stages(documents, global_stages)
    if journal is not None:
        items = (item for item in items if item not in journal)
    for result in run_stages(items, stages):
        if journal is not None and not (isinstance(result, Dropped) and result.retryable):
            journal.write(result)
        yield result


def run_stages(items: Iterable[Any], stages: Sequence[Stage]) -> Iterator[Any]:
    """Run items through the stages, in order; a ``Dropped`` item skips the remaining stages.

    Args:
        items: any number; read as results are asked for.
        stages: functions of an iterable that yield one result per item.

    Yields:
        One result per item, in order.

    Examples:
        >>> from reason_decode.mining import Document, run_stages
        >>> upper = lambda found: (Document(x.id, x.source, x.text.upper()) for x in found)
        >>> [x.text for x in run_stages([Document("1", "web", "a")], [upper])]
        ['A']
    """
    results: Iterator[Any] = iter(items)
    for stage in stages:
        results = _run_stage(results, stage)
    return results


def _run_stage(items: Iterator[Any], stage: Stage) -> Iterator[Any]:
    """The results of a stage, with the dropped items that it did not see in their old places."""
    # The order of the items that the stage has read but not yet answered: a dropped item, which is
    # passed on when its turn comes, or None for an item that the stage is working on.
    order: deque[Dropped | None] = deque()

    def undropped() -> Iterator[Any]:
        for item in items:
            if isinstance(item, Dropped):
                order.append(item)
            else:
                order.append(None)
                yield item

    for result in stage(undropped()):
        while (dropped := order.popleft()) is not None:
            yield dropped
        yield result
    yield from (dropped for dropped in order if dropped is not None)
