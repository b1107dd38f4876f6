import itertools
from fractions import Fraction

import pytest

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


def test_parse_prompt_inverts_format_prompt() -> None:
    text = countdown.format_prompt([4, 5, 6, 10], 24)
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
def test_grading_ends_at_the_first_wrong_step(place: int, line: str) -> None:
    steps = [*RIGHT[:place], line, *RIGHT[place + 1 :]]
    assert countdown.grade_steps((4, 5, 6, 10), 24, steps) == [True] * place + [False]


def test_grading_past_dead_ends_ends_at_the_first_invalid_step() -> None:
    steps = ["10 + 6 = 16 (left: 4 5 16)", "16 - 4 = 12 (left: 5 12)", "5 * 12 = 24 (left: 24)"]
    more = [*steps, "Answer: 5 * (10 + 6 - 4) = 24"]
    assert countdown.grade_steps((4, 5, 6, 10), 24, more, past_dead_ends=True) == [False] * 3
    assert countdown.grade_steps((4, 5, 6, 10), 24, RIGHT, past_dead_ends=True) == [True] * 4
    verdicts = countdown.grade_steps((4, 5, 6, 10), 24, more, require_reachable=False)
    assert verdicts == [True, True, False]


def test_the_numbers_left_may_be_listed_in_any_order() -> None:
    assert countdown.grade_steps((4, 5, 6, 10), 24, RIGHT) == [True] * 4


def test_fractions_are_exact() -> None:
    steps = [
        "8 / 3 = 8/3 (left: 8/3 3 8)",
        "3 - 8/3 = 1/3 (left: 1/3 8)",
        "8 / 1/3 = 24 (left: 24)",
        "Answer: 8 / (3 - 8 / 3) = 24",
    ]
    assert countdown.grade_steps((3, 3, 8, 8), 24, steps) == [True] * 4
