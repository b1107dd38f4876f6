import gc
import weakref
from collections.abc import Callable, Sequence

import pytest
import torch

from reason_decode.runs.batches import Batches
from reason_decode.runs.options import Shard
from reason_decode.scorers.base import check_finite

INDICES = list(range(10, 20))


def cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nof more")


def cpu() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def scores() -> None:
    check_finite([torch.tensor([float("nan")])], ["the candidate"])


def probabilities() -> None:
    torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)


def run(
    fails: Callable[[Sequence[int]], bool], how: Callable[[], None], size: int = 4
) -> tuple[Batches[Sequence[int]], list[Sequence[int]]]:
    asked: list[Sequence[int]] = []

    def do(batch: Sequence[int]) -> Sequence[int]:
        asked.append(batch)
        if fails(batch):
            how()
        return batch

    batches = Batches(INDICES, size, do)
    assert all(batch == result for batch, result in batches)
    return batches, asked


@pytest.mark.parametrize("how", [cuda, cpu])
def test_halves_a_batch_that_runs_out_of_memory(how: Callable[[], None]):
    batches, asked = run(lambda batch: len(batch) > 2 and 12 in batch, how)
    assert asked == [[10, 11, 12, 13], [10, 11], [12, 13], [14, 15, 16, 17], [18, 19]]
    assert (batches.failed, batches.halved) == ([], 1)


@pytest.mark.parametrize("how", [cuda, cpu, scores, probabilities])
def test_lists_an_item_that_fails_alone_and_runs_the_others(
    how: Callable[[], None],
):
    batches, asked = run(lambda batch: 15 in batch, how)
    assert [x.index for x in batches.failed] == [15]
    done = [batch for batch in asked if 15 not in batch]
    assert sorted(index for batch in done for index in batch) == [
        index for index in INDICES if index != 15
    ]
    reason = batches.failed[0].reason
    assert "out of memory: " in reason if batches.failed[0].out_of_memory else "nan" in reason
    assert "\n" not in reason


def test_raises_other_errors():
    def wrong() -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(lambda batch: True, wrong)


@pytest.mark.slow
def test_frees_a_failed_batch_before_the_next_attempt():
    # An exception's traceback holds its frames' tensors: retried inside the handler, half a batch
    # has only half the memory, and runs out of it again.
    held: list[weakref.ref[torch.Tensor]] = []

    def do(batch: Sequence[int]) -> int:
        assert all(ref() is None for ref in held)
        tensor = torch.zeros(len(batch))
        held.append(weakref.ref(tensor))
        if len(batch) > 1:
            cuda()
        return int(tensor.sum())

    gc.disable()
    try:
        assert len(list(Batches(INDICES, 8, do))) == len(INDICES)
    finally:
        gc.enable()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_partition_the_batches(count: int):
    def run(index: int, count: int) -> list[list[int]]:
        return [list(batch) for batch, _ in Batches(INDICES, 3, len, shard=Shard(index, count))]

    parts = [batch for index in range(1, count + 1) for batch in run(index, count)]
    assert sorted(parts) == run(1, 1) == [[10, 11, 12], [13, 14, 15], [16, 17, 18], [19]]


def test_runs_partly_done_batches_whole_and_skips_done_ones():
    done = {10, 11, 12, 14}
    assert [batch for batch, _ in Batches(INDICES, 3, len, done=done)][0] == [13, 14, 15]
