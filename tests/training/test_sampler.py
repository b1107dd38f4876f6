from statistics import mean

from reason_decode.training.sampler import LengthSortedSampler

LENGTHS = [7, 3, 9, 1, 4, 8, 2, 6, 5, 10, 12, 11]


def test_the_order_depends_on_seed_and_epoch_only():
    order = LengthSortedSampler(LENGTHS, step_size=3, seed=1)
    first = list(order)
    assert sorted(first) == list(range(len(LENGTHS))) and list(order) == first
    order.set_epoch(1)
    second = list(order)
    assert second != first and sorted(second) == sorted(first)
    anew = LengthSortedSampler(LENGTHS, step_size=3, seed=1)
    anew.set_epoch(1)
    assert list(anew) == second
    assert list(LengthSortedSampler(LENGTHS, step_size=3, seed=2)) != first


def test_steps_mix_lengths_and_their_batches_do_not():
    # Sorted over the whole epoch, each step had examples of one length, and the loss of a reward
    # model jumped between 0.2 and 1.3: solutions with early mistakes are short examples.
    lengths = [k % 50 for k in range(4000)]
    order = list(LengthSortedSampler(lengths, step_size=80, seed=0))
    steps = [[lengths[k] for k in order[x : x + 80]] for x in range(0, 4000, 80)]
    assert all(18 < mean(step) < 31 for step in steps)
    batches = [step[x : x + 10] for step in steps for x in range(0, 80, 10)]
    assert mean(max(x) - min(x) for x in batches) < 8
