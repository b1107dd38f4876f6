from itertools import pairwise

from reason_decode.training.order import ByLength

LENGTHS = [7, 3, 9, 1, 4, 8, 2, 6, 5, 10, 12, 11]


def test_every_example_comes_once_an_epoch_in_an_order_of_seed_and_epoch_alone():
    order = ByLength(LENGTHS, batch=3, seed=1)
    first = list(order)
    assert sorted(first) == list(range(len(LENGTHS))) and list(order) == first
    order.set_epoch(1)
    second = list(order)
    assert second != first and sorted(second) == sorted(first)
    anew = ByLength(LENGTHS, batch=3, seed=1)
    anew.set_epoch(1)
    assert list(anew) == second
    assert list(ByLength(LENGTHS, batch=3, seed=2)) != first


def test_neighbours_are_of_like_lengths():
    lengths = [k % 50 for k in range(4000)]
    order = list(ByLength(lengths, batch=8, seed=0))
    steps = [abs(lengths[a] - lengths[b]) for a, b in pairwise(order)]
    assert sum(steps) / len(steps) < 1
