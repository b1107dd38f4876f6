"""Many items in batches: halved where memory runs out; what no batch can hold is set aside."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tqdm import tqdm

from reason_decode.io.oom import attempt, halves
from reason_decode.core.errors import ScoringError, ItemError

__all__ = ["SINGLE_SHARD", "FailedItem", "Batches", "Shard"]

Result = TypeVar("Result")
# torch.multinomial's words for logits that are no numbers.
NO_NUMBERS = "probability tensor contains"


@dataclass(frozen=True, slots=True)
class Shard:
    """Which batches are run here: the index-th of every ``count``, from 1.

    Args:
        index: from 1 to ``count``.
        count: how many shards there are.
    """

    index: int
    count: int


SINGLE_SHARD = Shard(1, 1)


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that could not be done.

    Args:
        place: what ``Batches`` calls it.
        reason: what went wrong with it alone in a batch.
        memory: whether that was a lack of memory.
    """

    place: int
    reason: str
    memory: bool


class Batches(Generic[Result]):
    """Does items batch by batch; iterating gives ``(places, result)`` of each batch.

    Batches are cut before anything is known of what is done, so that a run that goes on, and the
    shards of a run together, form those of an unbroken run. A batch is done if all of it is; where
    a part of it is missing, the whole batch runs again. One that runs out of memory, whose scores
    or probabilities are no finite numbers, that gets no score, or that is ``ItemError``, is run by
    halves; an item that fails alone goes to ``aside``. Later batches begin whole again: what comes
    out does not depend on what ran before.

    Args:
        places: what items are called, in order.
        size: items a batch.
        do: of the places of a batch, its result.
        done: places that need not be done; may grow while batches run.
        shard: which batches are run here.
        desc: for the progress bar.
        unit: for the progress bar.
    """

    def __init__(
        self,
        places: Sequence[int],
        size: int,
        do: Callable[[Sequence[int]], Result],
        *,
        done: Container[int] = (),
        shard: Shard = SINGLE_SHARD,
        desc: str | None = None,
        unit: str = "item",
    ) -> None:
        cut = [list(places[at : at + size]) for at in range(0, len(places), size)]
        self.batches = cut[shard.index - 1 :: shard.count]
        self.do, self.done, self.desc, self.unit = do, done, desc, unit
        self.aside: list[FailedItem] = []
        self.halved = 0

    @property
    def left(self) -> bool:
        """Whether there is anything to do."""
        return any(place not in self.done for batch in self.batches for place in batch)

    def __iter__(self) -> Iterator[tuple[Sequence[int], Result]]:
        total = sum(map(len, self.batches))
        before = sum(place in self.done for batch in self.batches for place in batch)
        with tqdm(total=total, initial=before, desc=self.desc, unit=self.unit, disable=None) as bar:
            waiting: list[Sequence[int]] = [*self.batches[::-1]]
            while waiting:
                batch = waiting.pop()
                new = sum(place not in self.done for place in batch)
                if not new:
                    continue
                made, failed = attempt(self.do, batch, _unfit)
                if failed is None:
                    yield batch, made[0]
                elif len(batch) > 1:
                    self.halved += failed.memory
                    waiting += halves(batch)[::-1]
                    continue
                else:
                    self.aside.append(FailedItem(batch[0], *failed))
                bar.update(new)


def _unfit(error: Exception) -> bool:
    return isinstance(error, ScoringError | ItemError) or (
        isinstance(error, RuntimeError) and NO_NUMBERS in str(error)
    )
