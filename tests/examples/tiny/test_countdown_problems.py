import random
from fractions import Fraction

import pytest

from examples.tiny import countdown_problems
from reason_decode.tasks import countdown


@pytest.mark.slow
def test_solvable_problems_never_have_the_held_out_target() -> None:
    rng = random.Random(0)
    problems = [countdown_problems.solvable(rng) for _ in range(300)]
    assert 24 not in {target for _, target in problems}
    assert all(target in countdown.reachable(numbers) for numbers, target in problems)


def test_varied_problems_have_two_to_four_numbers_and_a_quarter_no_solution() -> None:
    rng = random.Random(1)
    problems = [countdown_problems.varied(rng) for _ in range(300)]
    assert 24 not in {target for _, target in problems}
    assert {len(numbers) for numbers, _ in problems} == {2, 3, 4}
    solvable = sum(target in countdown.reachable(numbers) for numbers, target in problems)
    assert 180 < solvable < 270


def test_pair_results_are_whole_or_none() -> None:
    assert countdown_problems.pair_results("11 - 8 = 3 (left: 8 3)") == [11, 5, 24, None]
    assert countdown_problems.pair_results("1 / 3 = 1/3 (left: 1/3 9)") == [None, None, 3, 27]
    assert countdown_problems.pair_results("2 - 6 = -4 (left: -4 0)") == [None, 4, 0, 0]
    assert countdown_problems.pair_results("4 + 5 = 9 (left: 1 2 9)") is None
    assert countdown_problems.pair_results("Answer: 3 * 8 = 24") is None


@pytest.mark.parametrize(
    ("left", "expected"),
    [("3 8", True), ("24", True), ("3 9", False), ("1 3 8", False), ("x", False)],
)
def test_leaves_held_out_target_is_true_for_one_or_two_numbers_that_make_it(
    left: str, expected: bool
) -> None:
    assert countdown_problems.leaves_held_out_target(f"1 + 2 = 3 (left: {left})") is expected


def test_problems_through_fractions_are_solvable_through_a_fraction() -> None:
    rng = random.Random(7)
    for _ in range(50):
        numbers, target = countdown_problems.through_fractions(rng)
        assert target != countdown_problems.HELD_OUT_TARGET
        ways = [m for m in countdown.moves(numbers) if isinstance(m.value, Fraction)]
        assert any(target in countdown.reachable(countdown.apply_move(numbers, m)) for m in ways)


def test_midway_problems_have_fractions_and_half_no_solution() -> None:
    rng = random.Random(8)
    problems = [countdown_problems.midway(rng) for _ in range(300)]
    assert {len(numbers) for numbers, _ in problems} == {2, 3}
    assert 24 not in {target for _, target in problems}
    assert all(countdown.parse_prompt(countdown.format_prompt(*p)) == p for p in problems)
    fractional = [n for n, _ in problems if any(isinstance(x, Fraction) for x in n)]
    assert 180 < len(fractional) < 270
    solvable = sum(target in countdown.reachable(numbers) for numbers, target in problems)
    assert 110 < solvable < 190
