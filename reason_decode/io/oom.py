"""Retry a batch in halves when memory runs out."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

__all__ = [
    "BatchFailure",
    "is_out_of_memory",
    "release_memory",
    "run_in_halves",
    "split_in_half",
    "try_batch",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

# RuntimeErrors that mean a lack of memory although they are no torch.OutOfMemoryError.
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class BatchFailure(NamedTuple):
    """The error of a batch.

    Attributes:
        reason: the first line of the error message.
        out_of_memory: true if memory ran out.
    """

    reason: str
    out_of_memory: bool


def try_batch(
    run: Callable[[Sequence[Item]], Result],
    batch: Sequence[Item],
    is_item_error: Callable[[Exception], bool] = lambda error: False,
) -> tuple[list[Result], BatchFailure | None]:
    """``([run(batch)], None)``, or ``([], failure)`` if memory ran out or an item cannot be done.

    All memory that a failed attempt has allocated is free again when this returns.

    Args:
        run: the work to be done on a batch.
        batch: at least one item.
        is_item_error: given an error of ``run``, true if it is about an item of the batch; other
            errors are raised.
    """
    try:
        return [run(batch)], None
    except (RuntimeError, ValueError, MemoryError) as error:
        out_of_memory = is_out_of_memory(error)
        if not out_of_memory and not is_item_error(error):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
    release_memory()
    prefix = "out of memory: " if out_of_memory else ""
    return [], BatchFailure(prefix + reason, out_of_memory)


def release_memory() -> None:
    """Give back the memory of a failed attempt.

    Call it after the handler of the error, whose traceback keeps the attempt's tensors alive.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def split_in_half(batch: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """The first half of a batch, which has the middle item if the length is odd, and the second."""
    half = (len(batch) + 1) // 2
    return batch[:half], batch[half:]


def run_in_halves(
    run: Callable[[Sequence[Item]], Result], batch: Sequence[Item]
) -> Iterator[tuple[Sequence[Item], Result | BatchFailure]]:
    """``run`` of a batch, or of its halves if memory runs out, and so on, in order.

    Args:
        run: the work to be done on at least one item.
        batch: at least one item.

    Yields:
        A part of the batch and its result, or a single item and the failure if memory does not
        suffice for it alone.
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        results, failure = try_batch(run, part)
        if failure is None:
            yield part, results[0]
        elif len(part) == 1:
            yield part, failure
        else:
            waiting += split_in_half(part)[::-1]


def is_out_of_memory(error: Exception) -> bool:
    """True if an error means that memory ran out."""
    # Where torch was never imported, no error can be one of its kind: io does without torch.
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    ):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
