"""Random countdown problems, none with the target 24: the Game of 24 is the public test."""

import random
from fractions import Fraction
from functools import lru_cache

from reason_decode.tasks.countdown import Number, State, apply_move, moves, numbers_left, reachable

HELD_OUT_TARGET = 24
TARGETS = tuple(t for t in range(10, 51) if t != HELD_OUT_TARGET)


def leaves_held_out_target(line: str) -> bool:
    """Whether a line leaves one or two numbers from which the held-out target can be made.

    No problem has that target, so such states are dead ends wherever they turn up. A model that is
    told so learns that what makes 24 never helps, instead of learning nothing about it.
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
    """The whole numbers from 2 to ``most`` that can be made; not the one that is held out."""
    whole = (x for x in reachable(numbers) if isinstance(x, int) and 2 <= x <= most)
    return tuple(sorted({*whole} - {HELD_OUT_TARGET}))


def varied(rng: random.Random) -> tuple[tuple[int, ...], int]:
    """A random problem from which reach must be computed, for it takes more than memory holds.

    Two, three or four numbers, as a game may leave them or up to 100, and any target from 2 to 200
    but 24; one in four has no solution.
    """
    while True:
        numbers = _left_over(rng, count=rng.choices((2, 3, 4), (3, 6, 3))[0])
        within = [t for t in reachable(numbers) if isinstance(t, int) and 2 <= t <= 200]
        if not within:
            continue
        target, solvable = rng.choice(within), rng.random() < 0.75
        if not solvable:
            target += rng.choice((-10, -2, -1, 1, 2, 10, rng.randint(-40, 40)))
        if target > 1 and target != HELD_OUT_TARGET and (target in within) is solvable:
            return numbers, target


def through_fractions(rng: random.Random) -> tuple[tuple[int, ...], int]:
    """A random problem of three or four numbers that a way through a fraction solves.

    A weak generator tries fractions often, and then gets them wrong: its verifier needs to have
    seen them go right.
    """
    while True:
        numbers = _left_over(rng, count=rng.choice((3, 3, 4)))
        within = {
            t
            for move in moves(numbers)
            if isinstance(move.value, Fraction)
            for t in reachable(apply_move(numbers, move))
            if isinstance(t, int) and 2 <= t <= 200 and t != HELD_OUT_TARGET
        }
        if within:
            return numbers, rng.choice(sorted(within))


def midway(rng: random.Random) -> tuple[State, int]:
    """A random problem that begins where others have got to, wherever that is.

    Two or three numbers, fractions mostly among them; half of these problems have no solution. Only
    from such states is it seen that lines after a dead end make their results up.
    """
    count, fractional, solvable = rng.choice((2, 3)), rng.random() < 0.75, rng.random() < 0.5
    while True:
        state: State = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
        while len(state) > count:
            state = apply_move(state, rng.choice(moves(state)))
        if fractional is not any(isinstance(x, Fraction) for x in state):
            continue
        within = [t for t in reachable(state) if isinstance(t, int) and 2 <= t <= 200]
        target = rng.choice(within) if within else rng.choice(TARGETS)
        if not solvable:
            near = target + rng.choice((-10, -4, -2, -1, 1, 2, 4, 10))
            target = near if rng.random() < 0.5 else rng.choice(TARGETS)
        if target > 1 and target != HELD_OUT_TARGET and (target in within) is solvable:
            return state, target


def _left_over(rng: random.Random, count: int) -> tuple[int, ...]:
    """Positive whole numbers: what is left of four after some moves, or any."""
    while True:
        if count < 4 and rng.random() < 0.4:
            most = rng.choice((13, 40, 100) if count == 2 else (13, 40))
            return tuple(sorted(rng.randint(1, most) for _ in range(count)))
        state: State = tuple(sorted(rng.randint(1, 13) for _ in range(4)))
        while len(state) > count:
            state = apply_move(state, rng.choice(moves(state)))
        numbers = tuple(x for x in state if isinstance(x, int) and 0 < x <= 200)
        if len(numbers) == count:
            return numbers
