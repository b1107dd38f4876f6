import itertools
import random
from fractions import Fraction

import pytest

from examples.tiny import countdown_problems
from reason_decode.tasks import countdown


def _every_value(numbers: list[Fraction]) -> set[Fraction]:
    """All values of all expressions, the slow and obvious way."""
    if len(numbers) == 1:
        return {numbers[0]}
    values: set[Fraction] = set()
    for i, j in itertools.permutations(range(len(numbers)), 2):
        a, b = numbers[i], numbers[j]
        rest = [x for k, x in enumerate(numbers) if k not in (i, j)]
        made = [a + b, a - b, a * b, *([a / b] if b else [])]
        for value in made:
            values |= _every_value([*rest, value])
    return values


@pytest.mark.parametrize("state", [(3, 3), (1, 5, 5), (3, 3, 8, 8), (0, 2, 2)])
def test_reachable_is_every_expression(state: tuple[int, ...]) -> None:
    assert countdown.reachable(state) == _every_value([Fraction(x) for x in state])


def test_a_prompt_reads_back() -> None:
    text = countdown.prompt([4, 5, 6, 10], 24)
    assert text == "Make 24 from 4 5 6 10.\n"
    assert countdown.parse_prompt(text) == ((4, 5, 6, 10), 24)
    assert countdown.parse_prompt("(1 + 2) =\n") is None
    assert countdown.parse_prompt("Make 24 from 1/0 4.\n") is None


RIGHT = [
    "10 - 4 = 6 (left: 5 6 6)",
    "5 * 6 = 30 (left: 30 6)",
    "30 - 6 = 24 (left: 24)",
    "Answer: 5 * (10 - 4) - 6 = 24",
]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (0, "10 - 4 = 7 (left: 5 6 7)"),  # wrong arithmetic
        (0, "10 - 4 = 6 (left: 5 6)"),  # a number lost
        (0, "10 - 4 = 6 (left: 4 5 6 6)"),  # a used number kept
        (0, "10 - 3 = 7 (left: 4 5 6 7)"),  # a number that is not there
        (0, "10 + 6 = 16 (left: 4 5 16)"),  # right arithmetic, but a dead end
        (1, "5 - 6 = -1 (left: -1 6)"),
        (2, "30 / 0 = 0 (left: 0)"),
        (2, "thirty minus six"),
        (3, "Answer: 5 * (10 - 4) = 24"),
        (3, "Answer: 5 * 10 - 4 - 6 = 24"),
        (3, "Answer: None"),
    ],
)
def test_the_first_wrong_step_ends_the_check(place: int, line: str) -> None:
    steps = [*RIGHT[:place], line, *RIGHT[place + 1 :]]
    assert countdown.check((4, 5, 6, 10), 24, steps) == [True] * place + [False]


def test_onward_dead_ends_are_passed_and_what_does_not_follow_ends_the_check() -> None:
    steps = ["10 + 6 = 16 (left: 4 5 16)", "16 - 4 = 12 (left: 5 12)", "5 * 12 = 24 (left: 24)"]
    more = [*steps, "Answer: 5 * (10 + 6 - 4) = 24"]
    assert countdown.check((4, 5, 6, 10), 24, more, onward=True) == [False] * 3
    assert countdown.check((4, 5, 6, 10), 24, RIGHT, onward=True) == [True] * 4
    told = countdown.check((4, 5, 6, 10), 24, more, reach=False)
    assert told == [True, True, False]


def test_right_steps_are_right_in_any_order_of_what_is_left() -> None:
    assert countdown.check((4, 5, 6, 10), 24, RIGHT) == [True] * 4


def test_fractions_count_as_exact() -> None:
    steps = [
        "8 / 3 = 8/3 (left: 8/3 3 8)",
        "3 - 8/3 = 1/3 (left: 1/3 8)",
        "8 / 1/3 = 24 (left: 24)",
        "Answer: 8 / (3 - 8 / 3) = 24",
    ]
    assert countdown.check((3, 3, 8, 8), 24, steps) == [True] * 4


def test_no_problem_has_the_held_out_target() -> None:
    rng = random.Random(0)
    problems = [countdown_problems.solvable(rng) for _ in range(300)]
    assert 24 not in {target for _, target in problems}
    assert all(target in countdown.reachable(numbers) for numbers, target in problems)


def test_varied_problems_are_of_all_sizes_and_some_have_no_solution() -> None:
    rng = random.Random(1)
    problems = [countdown_problems.varied(rng) for _ in range(300)]
    assert 24 not in {target for _, target in problems}
    assert {len(numbers) for numbers, _ in problems} == {2, 3, 4}
    solvable = sum(target in countdown.reachable(numbers) for numbers, target in problems)
    assert 180 < solvable < 270


def test_what_two_numbers_make() -> None:
    assert countdown.pair_results("11 - 8 = 3 (left: 8 3)") == [11, 5, 24, None]
    assert countdown.pair_results("1 / 3 = 1/3 (left: 1/3 9)") == [None, None, 3, 27]
    assert countdown.pair_results("2 - 6 = -4 (left: -4 0)") == [None, 4, 0, 0]
    assert countdown.pair_results("4 + 5 = 9 (left: 1 2 9)") is None
    assert countdown.pair_results("Answer: 3 * 8 = 24") is None


@pytest.mark.parametrize(
    ("left", "speaks"),
    [("3 8", True), ("24", True), ("3 9", False), ("1 3 8", False), ("x", False)],
)
def test_lines_that_speak_of_the_held_out_target(left: str, speaks: bool) -> None:
    assert countdown_problems.speaks_of_held_out(f"1 + 2 = 3 (left: {left})") is speaks


def test_problems_through_fractions_have_such_a_way() -> None:
    rng = random.Random(7)
    for _ in range(50):
        numbers, target = countdown_problems.through_fractions(rng)
        assert target != countdown_problems.HELD_OUT_TARGET
        ways = [m for m in countdown.moves(numbers) if isinstance(m.value, Fraction)]
        assert any(target in countdown.reachable(countdown.after(numbers, m)) for m in ways)


def test_problems_that_begin_midway_have_fractions_and_often_no_solution() -> None:
    rng = random.Random(8)
    problems = [countdown_problems.midway(rng) for _ in range(300)]
    assert {len(numbers) for numbers, _ in problems} == {2, 3}
    assert 24 not in {target for _, target in problems}
    assert all(countdown.parse_prompt(countdown.prompt(*p)) == p for p in problems)
    fractional = [n for n, _ in problems if any(isinstance(x, Fraction) for x in n)]
    assert 180 < len(fractional) < 270
    solvable = sum(target in countdown.reachable(numbers) for numbers, target in problems)
    assert 110 < solvable < 190
