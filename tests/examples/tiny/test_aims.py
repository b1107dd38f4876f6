import random

import pytest

from examples.tiny.aims import last_operations, last_pairs, search_aims
from reason_decode.tasks import countdown


def test_a_search_lists_needed_values_and_results():
    assert search_aims((4, 6, 10), 36) == (
        "(10 36: 46 26 360) (4 6: 10 2 24); (6 36: 42 30 216 6) (4 10: 14 6, 6 * 6, 40); "
        "(4 36: 40 32 144 9) (6 10: 16 4 60)",
        ["6 * 6"],
    )
    search = search_aims((4, 5, 6, 10), 36)
    assert search is not None and search[0].split("; ")[0] == (
        "(4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) (36 40: 76 4 1440) "
        "(5 6: 11 1 30, 30 + 6)"
    )
    assert search[1] == ["30 + 6", "20 + 16", "9 * 4"]
    assert search_aims((6, 30), 36) == ("(6 30: 36 24 180 5)", ["30 + 6"])


@pytest.mark.parametrize("state", [(4,), (1, 2, 3, 4, 5), (-1, 2, 3)])
def test_states_of_other_sizes_or_with_negative_numbers_have_no_search(state):
    assert search_aims(state, 24) is None


def test_a_search_from_two_or_three_numbers_finds_every_aim_of_whole_numbers():
    rng = random.Random(0)
    for _ in range(200):
        state = tuple(sorted(rng.randint(1, 20) for _ in range(rng.choice((2, 3)))))
        target = rng.randint(2, 50)
        search = search_aims(state, target)
        assert search is not None
        found = [aim.split(" ") for aim in search[1]]
        for a, op, b in found:
            assert countdown.calculate(int(a), op, int(b)) == target
        whole = [aim.split(" ") for aim in last_operations(state).get(target, ())]
        due = [x for x in whole if all(k.isdigit() for k in (x[0], x[2]))]
        assert {pair(x) for x in due} <= {pair(x) for x in found} <= last_pairs(state)


def test_a_search_from_four_numbers_finds_every_aim_that_joins_two_pairs():
    rng = random.Random(0)
    for _ in range(100):
        state = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
        search = search_aims(state, 24)
        assert search is not None
        pairs = [
            tuple(sorted((a.value, b.value)))
            for i, j, k, m in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))
            for a in countdown.moves((state[i], state[j]))
            for b in countdown.moves((state[k], state[m]))
        ]
        whole = [x for x in pairs if all(isinstance(n, int) and n >= 0 for n in x)]
        due = {x for x in whole if any(move.value == 24 for move in countdown.moves(x))}
        assert due == {pair(aim.split(" ")) for aim in search[1]}


def pair(aim):
    return tuple(sorted((int(aim[0]), int(aim[2]))))
