import random

import pytest

from examples.tiny.aims import aims, searched, ways
from reason_decode.tasks import countdown


def test_a_search_shows_what_is_wanted_and_what_can_be_made():
    assert searched((4, 6, 10), 36) == (
        "(10 36: 46 26 360) (4 6: 10 2 24); (6 36: 42 30 216 6) (4 10: 14 6, 6 * 6, 40); "
        "(4 36: 40 32 144 9) (6 10: 16 4 60)",
        ["6 * 6"],
    )
    search = searched((4, 5, 6, 10), 36)
    assert search is not None and search[0].split("; ")[0] == (
        "(4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) (36 40: 76 4 1440) "
        "(5 6: 11 1 30, 30 + 6)"
    )
    assert search[1] == ["30 + 6", "20 + 16", "9 * 4"]
    assert searched((6, 30), 36) == ("(6 30: 36 24 180 5)", ["30 + 6"])


@pytest.mark.parametrize("state", [(4,), (1, 2, 3, 4, 5), (-1, 2, 3)])
def test_no_search_is_written_of_other_states(state):
    assert searched(state, 24) is None


def test_it_finds_all_that_can_be_had_in_whole_numbers():
    rng = random.Random(0)
    for _ in range(200):
        state = tuple(sorted(rng.randint(1, 20) for _ in range(rng.choice((2, 3)))))
        target = rng.randint(2, 50)
        search = searched(state, target)
        assert search is not None
        found = [aim.split(" ") for aim in search[1]]
        for a, op, b in found:
            assert countdown.calculate(int(a), op, int(b)) == target
        whole = [aim.split(" ") for aim in ways(state).get(target, ())]
        due = [x for x in whole if all(k.isdigit() for k in (x[0], x[2]))]
        assert {pair(x) for x in due} <= {pair(x) for x in found} <= aims(state)


def test_of_four_numbers_it_finds_what_two_pairs_make():
    rng = random.Random(0)
    for _ in range(100):
        state = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
        search = searched(state, 24)
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
