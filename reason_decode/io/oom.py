"""What to do where memory runs out: less at a time."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch

__all__ = ["Failed", "attempt", "by_halves", "halves"]

Item = TypeVar("Item")
Result = TypeVar("Result")
# What torch calls a lack of memory outside of torch.OutOfMemoryError.
WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class Failed(NamedTuple):
    """Why a batch could not be done: a line; and whether for a lack of memory."""

    reason: str
    memory: bool


def attempt(
    do: Callable[[Sequence[Item]], Result],
    batch: Sequence[Item],
    bad: Callable[[Exception], bool] = lambda error: False,
) -> tuple[list[Result], Failed | None]:
    """``([do(batch)], None)``, or ``([], why)`` where memory ran out or an error is ``bad``.

    When it returns nothing holds on to what the attempt has allocated. Other errors are raised.
    """
    try:
        return [do(batch)], None
    except (RuntimeError, ValueError, MemoryError) as error:
        memory = _lacking(error)
        if not memory and not bad(error):
            raise
        said = str(error).partition("\n")[0] or type(error).__name__
    # Behind the handler, for until there the error's frames hold on to the batch's tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [], Failed(f"out of memory: {said}" if memory else said, memory)


def halves(batch: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """The first half, which is the larger one, and the second."""
    half = (len(batch) + 1) // 2
    return batch[:half], batch[half:]


def by_halves(
    do: Callable[[Sequence[Item]], Result], batch: Sequence[Item]
) -> Iterator[tuple[Sequence[Item], Result | Failed]]:
    """``do`` of a batch, or of its halves where memory runs out, and so on, in order.

    Args:
        do: of at least one item.
        batch: at least one item.

    Yields:
        A part of the batch, and its result; of an item for which alone there is no memory, why.
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        made, failed = attempt(do, part)
        if failed is None:
            yield part, made[0]
        elif len(part) == 1:
            yield part, failed
        else:
            waiting += halves(part)[::-1]


def _lacking(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in WORDS)
