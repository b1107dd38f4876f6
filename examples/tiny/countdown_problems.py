"""Random countdown problems, none with the target 24: the Game of 24 is the public test."""

import random
from fractions import Fraction
from functools import lru_cache

from reason_decode.tasks.countdown import (
    Number,
    State,
    apply_move,
    moves,
    numbers_left,
    reachable,
)

HELD_OUT_TARGET = 24
TARGETS = tuple(t for t in range(10, 51) if t != HELD_OUT_TARGET)
_LARGEST_TARGET = 200


def leaves_held_out_target(line: str) -> bool:
    """True if a line leaves one or two numbers from which the held-out target can be reached.

    No problem has that target, so such states are dead ends wherever they occur. A model trained
    on those labels learns that states which make 24 are useless, instead of learning nothing about
    24.
    """
    left = numbers_left(line)
    return left is not None and 0 < len(left) <= 2 and HELD_OUT_TARGET in reachable(tuple(left))


def pair_results(line: str) -> list[Number | None] | None:
    """Sum, difference, product and quotient of the two numbers that a line of work leaves.

    Difference and quotient are of the larger number by the smaller. ``None`` stands for a result
    that is no whole number of at least 0.

    Returns:
        ``None`` if the line does not leave two numbers.
    """
    left = numbers_left(line)
    if left is None or len(left) != 2:
        return None
    a, b = sorted(left)
    results = [a + b, b - a, a * b, Fraction(b) / a if a else -1]
    return [int(x) if x >= 0 and Fraction(x).denominator == 1 else None for x in results]


def solvable(rng: random.Random) -> tuple[tuple[int, ...], int]:
    """A random problem that has a solution: four numbers 1-13, a target 10-50 other than 24."""
    while True:
        numbers = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
        target = rng.choice(TARGETS)
        if target in reachable(numbers):
            return numbers, target


@lru_cache(1 << 10)
def targets(numbers: State, most: int) -> tuple[int, ...]:
    """The whole numbers from 2 to ``most`` that can be reached, without the held-out target."""
    whole = (x for x in reachable(numbers) if isinstance(x, int) and 2 <= x <= most)
    return tuple(sorted({*whole} - {HELD_OUT_TARGET}))


def varied(rng: random.Random) -> tuple[tuple[int, ...], int]:
    """A random problem out of more than a small model can know by heart; a quarter is unsolvable.

    It has two, three or four numbers, as a game may leave them or up to 100, and a target from 2 to
    200 other than 24.
    """
    while True:
        numbers = _numbers(rng, count=rng.choices((2, 3, 4), (3, 6, 3))[0])
        within = _whole_targets(numbers)
        if not within:
            continue
        target, has_solution = rng.choice(within), rng.random() < 0.75
        if not has_solution:
            target += rng.choice((-10, -2, -1, 1, 2, 10, rng.randint(-40, 40)))
        if target > 1 and target != HELD_OUT_TARGET and (target in within) is has_solution:
            return numbers, target


def through_fractions(rng: random.Random) -> tuple[tuple[int, ...], int]:
    """A random problem of three or four numbers that can be solved through a fraction.

    A weak generator tries fractions often and gets most of them wrong, so its verifier has to see
    right ones, too.
    """
    while True:
        numbers = _numbers(rng, count=rng.choice((3, 3, 4)))
        within = {
            target
            for move in moves(numbers)
            if isinstance(move.value, Fraction)
            for target in _whole_targets(apply_move(numbers, move))
            if target != HELD_OUT_TARGET
        }
        if within:
            return numbers, rng.choice(sorted(within))


def midway(rng: random.Random) -> tuple[State, int]:
    """A random problem that starts where some solution has got to; half are unsolvable.

    It has two or three numbers, mostly with fractions among them. Such problems show the verifier
    lines after a dead end, where a weak generator makes its results up.
    """
    count, fractional, has_solution = rng.choice((2, 3)), rng.random() < 0.75, rng.random() < 0.5
    while True:
        state = _play_until(rng, count)
        if fractional is not any(isinstance(x, Fraction) for x in state):
            continue
        within = _whole_targets(state)
        target = rng.choice(within) if within else rng.choice(TARGETS)
        if not has_solution:
            near = target + rng.choice((-10, -4, -2, -1, 1, 2, 4, 10))
            target = near if rng.random() < 0.5 else rng.choice(TARGETS)
        if target > 1 and target != HELD_OUT_TARGET and (target in within) is has_solution:
            return state, target


def _whole_targets(state: State) -> list[int]:
    """The whole numbers from 2 to 200 that can be reached."""
    return [t for t in reachable(state) if isinstance(t, int) and 2 <= t <= _LARGEST_TARGET]


def _play_until(rng: random.Random, count: int) -> State:
    """A state of so many numbers after random moves from four numbers 1-13."""
    state: State = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
    while len(state) > count:
        state = apply_move(state, rng.choice(moves(state)))
    return state


def _numbers(rng: random.Random, count: int) -> tuple[int, ...]:
    """Positive whole numbers: those left of four numbers after random moves, or any up to 100."""
    while True:
        if count < 4 and rng.random() < 0.4:
            most = rng.choice((13, 40, 100) if count == 2 else (13, 40))
            return tuple(sorted(rng.randint(1, most) for _ in range(count)))
        state = _play_until(rng, count)
        numbers = tuple(x for x in state if isinstance(x, int) and 0 < x <= 200)
        if len(numbers) == count:
            return numbers
