"""Items in batches: a batch is halved when memory runs out, an item that fails alone is listed."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from reason_decode.core.errors import ItemError, ScoringError
from reason_decode.io.console import printable
from reason_decode.io.oom import split_in_half, try_batch
from reason_decode.runs.options import SINGLE_SHARD, Shard

__all__ = ["Batches", "FailedItem", "print_failures"]

Result = TypeVar("Result")
# Part of the error of torch.multinomial for probabilities that are NaN, infinite or negative.
BAD_PROBABILITIES = "probability tensor contains"
PRINTED = 10  # failed items that are printed one by one


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that failed alone in a batch.

    Args:
        index: the item's index.
        reason: first line of the error.
        out_of_memory: whether the error was a lack of memory.
    """

    index: int
    reason: str
    out_of_memory: bool


class Batches(Generic[Result]):
    """Runs items batch by batch; iterating gives ``(indices, result)`` of each batch.

    The batches are cut before those that are done are skipped, so that a resumed run and the shards
    of a run form the batches of an uninterrupted run, and the results do not depend on what ran
    before. A batch of which any item is missing runs whole. A batch is split in halves if it runs
    out of memory, if its scores or probabilities are not finite, or on ``ScoringError`` and
    ``ItemError``; an item that fails alone is added to ``failed``.

    Args:
        indices: the items' indices, in order.
        size: items a batch.
        run: indices of a batch -> its result.
        done: indices to skip; may grow while batches run.
        shard: the batches to run.
        desc: label of the progress bar.
        unit: unit of the progress bar.

    Attributes:
        failed: the items that failed alone.
        halved: number of batches that ran out of memory and were split.
    """

    def __init__(
        self,
        indices: Sequence[int],
        size: int,
        run: Callable[[Sequence[int]], Result],
        *,
        done: Container[int] = (),
        shard: Shard = SINGLE_SHARD,
        desc: str | None = None,
        unit: str = "item",
    ) -> None:
        cut = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
        self.batches = cut[shard.index - 1 :: shard.count]
        self.run, self.done, self.desc, self.unit = run, done, desc, unit
        self.failed: list[FailedItem] = []
        self.halved = 0

    def __iter__(self) -> Iterator[tuple[Sequence[int], Result]]:
        total = sum(map(len, self.batches))
        before = sum(index in self.done for batch in self.batches for index in batch)
        with tqdm(total=total, initial=before, desc=self.desc, unit=self.unit, disable=None) as bar:
            waiting: list[Sequence[int]] = [*self.batches[::-1]]
            while waiting:
                batch = waiting.pop()
                new = sum(index not in self.done for index in batch)
                if not new:
                    continue
                made, failed = try_batch(self.run, batch, _is_of_an_item)
                if failed is None:
                    yield batch, made[0]
                elif len(batch) > 1:
                    self.halved += failed.out_of_memory
                    waiting += split_in_half(batch)[::-1]
                    continue
                else:
                    self.failed.append(FailedItem(batch[0], *failed))
                bar.update(new)


def print_failures(batches: Batches[Any], name: Callable[[int], str]) -> None:
    """Print the items that failed, and how many batches were halved.

    Args:
        batches: those that ran.
        name: index of an item -> its name for the user.
    """
    if batches.halved:
        print(
            f"out of memory: {batches.halved} batches were run in halves; a smaller --batch-size "
            "saves the attempts"
        )
    for item in batches.failed[:PRINTED]:
        print(f"not done: {name(item.index)}: {printable(item.reason)}")
    if batches.failed:
        print(f"not done: {len(batches.failed)} in all; the same command tries them again")


def _is_of_an_item(error: Exception) -> bool:
    """True if a single item caused the error, so that the others of its batch can be done."""
    return isinstance(error, ScoringError | ItemError) or (
        isinstance(error, RuntimeError) and BAD_PROBABILITIES in str(error)
    )
