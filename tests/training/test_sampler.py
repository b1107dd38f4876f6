from statistics import mean

from reason_decode.training.sampler import LengthSortedSampler

LENGTHS = [7, 3, 9, 1, 4, 8, 2, 6, 5, 10, 12, 11]


def test_every_example_comes_once_an_epoch_in_an_order_of_seed_and_epoch_alone():
    order = LengthSortedSampler(LENGTHS, update=3, seed=1)
    first = list(order)
    assert sorted(first) == list(range(len(LENGTHS))) and list(order) == first
    order.set_epoch(1)
    second = list(order)
    assert second != first and sorted(second) == sorted(first)
    anew = LengthSortedSampler(LENGTHS, update=3, seed=1)
    anew.set_epoch(1)
    assert list(anew) == second
    assert list(LengthSortedSampler(LENGTHS, update=3, seed=2)) != first


def test_an_update_is_of_all_lengths_and_its_passes_are_of_like_ones():
    # Updates were of one length each, from the longest down: the loss of a reward model leapt
    # between 0.2 and 1.3, for early mistakes make short examples.
    lengths = [k % 50 for k in range(4000)]
    order = list(LengthSortedSampler(lengths, update=80, seed=0))
    updates = [[lengths[k] for k in order[x : x + 80]] for x in range(0, 4000, 80)]
    assert all(18 < mean(update) < 31 for update in updates)
    passes = [update[x : x + 10] for update in updates for x in range(0, 80, 10)]
    assert mean(max(x) - min(x) for x in passes) < 8
