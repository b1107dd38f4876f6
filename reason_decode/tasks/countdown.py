"""Countdown problems: make a target from four numbers, one operation a step.

A solution is written as in Tree of Thoughts (Yao et al. 2023, 2305.10601), so that solutions of
other models can be read by the same verifier::

    Make 24 from 4 5 6 10.
    10 - 4 = 6 (left: 5 6 6)
    5 * 6 = 30 (left: 6 30)
    30 - 6 = 24 (left: 24)
    Answer: 5 * (10 - 4) - 6 = 24
"""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from reason_decode.core.answers import evaluate

# States whose moves are kept: enough for the recipe's reuse of them, without growing for hours.
_REMEMBERED = 1 << 19

# Whole numbers stay ints: they hash and compare equal to Fractions, and much faster.
Number = int | Fraction
State = tuple[Number, ...]


class Move(NamedTuple):
    """One operation on two numbers of a state; ``i`` and ``j`` are their places in it."""

    i: int
    op: str
    j: int
    value: Number


@lru_cache(_REMEMBERED)
def moves(state: State) -> tuple[Move, ...]:
    """Every distinct legal operation on two numbers of a state: fractions, but none by zero."""
    found: dict[tuple[Number, str, Number], Move] = {}
    for i, a in enumerate(state):
        for j, b in enumerate(state):
            if i == j:
                continue
            for op in "+-*/":
                if op == "/" and b == 0:
                    continue
                found.setdefault((a, op, b), Move(i, op, j, apply(a, op, b)))
    return tuple(found.values())


def apply(a: Number, op: str, b: Number) -> Number:
    """``a op b``, exactly; ``ZeroDivisionError`` for a division by zero."""
    if op == "+":
        return _whole(a + b)
    if op == "-":
        return _whole(a - b)
    return _whole(a * b if op == "*" else Fraction(a) / b)


def _whole(x: Number) -> Number:
    return x.numerator if x.denominator == 1 else x


@lru_cache(_REMEMBERED)
def after(state: State, move: Move) -> State:
    """The numbers left once a move is made, in ascending order."""
    rest = [x for k, x in enumerate(state) if k not in (move.i, move.j)]
    return tuple(sorted([*rest, move.value]))


@lru_cache(_REMEMBERED)
def reachable(state: State) -> frozenset[Number]:
    """Every value that can be made from all the numbers of a state, by brute force."""
    if len(state) == 1:
        return frozenset(state)
    if len(state) == 2:
        return frozenset(move.value for move in moves(state))
    return frozenset().union(*{reachable(after(state, move)) for move in moves(state)})


def prompt(numbers: Sequence[Number], target: int) -> str:
    r"""The problem as text: ``"Make 24 from 4 5 6 10.\n"``."""
    return f"Make {target} from {' '.join(map(str, numbers))}.\n"


Shown = Number | str
"""A number, or how it is to be written."""


def step(a: Shown, op: str, b: Shown, value: Shown, left: Sequence[Shown]) -> str:
    """One line of work: ``"10 - 4 = 6 (left: 5 6 6)"``."""
    return f"{a} {op} {b} = {value} (left: {' '.join(map(str, left))})"


_PROMPT = re.compile(r"Make (-?\d+) from ([-/\d ]+)\.\s*")
STEP = re.compile(r"(\S+) ([-+*/]) (\S+) = (\S+) \(left: ([^()]*)\)")
_NUMBER = re.compile(r"\d{1,3}")


def parse_prompt(text: str) -> tuple[State, int] | None:
    """The numbers and the target of a prompt, or ``None`` if it is no countdown problem."""
    match = _PROMPT.fullmatch(text)
    numbers = to_numbers(match[2].split()) if match else None
    return (tuple(numbers), int(match[1])) if match and numbers else None


def to_numbers(words: Sequence[str]) -> list[Number] | None:
    """Words as exact numbers (``"3"``, ``"8/3"``, ``"2.5"``); ``None`` if one is no number."""
    try:
        return [_whole(Fraction(word)) for word in words]
    except (ValueError, ZeroDivisionError):
        return None


def check(
    numbers: Sequence[Number],
    target: int,
    steps: Sequence[str],
    *,
    onward: bool = False,
    reach: bool = True,
) -> list[bool]:
    """Whether each step is right, up to and including the first that is not.

    A step is right when its arithmetic is, it uses two numbers that are left, it lists what is left
    (in any order) and the target can still be reached. An answer is right when its expression uses
    the given numbers, each once, and equals the target.

    Args:
        numbers: the numbers of the problem.
        target: the number to make.
        steps: lines of work, without newlines.
        onward: go on past dead ends (lines that follow, but leave the target out of reach), up to
            the first line that does not follow.
        reach: whether a line that follows, but leaves the target out of reach, is wrong.

    Returns:
        One bool a step; it ends after the first ``False``, or ``onward`` the first such line.
    """
    verdicts: list[bool] = []
    state: State | None = tuple(sorted(numbers))
    for line in steps:
        if line.startswith("Answer:"):
            verdicts.append(is_answer(numbers, target, line))
            state = None
        else:
            state = follow(state, line)
            verdicts.append(state is not None and (not reach or target in reachable(state)))
        if not verdicts[-1] and not (onward and state):
            break
    return verdicts


def follow(state: State | None, line: str) -> State | None:
    """The state after a line of work, or ``None`` where the line does not follow from the state."""
    match = STEP.fullmatch(line)
    if match is None or state is None:
        return None
    parsed = to_numbers([match[1], match[3], match[4]])
    left = to_numbers(match[5].split())
    if parsed is None or left is None:
        return None
    a, b, value = parsed
    if (match[2] == "/" and b == 0) or apply(a, match[2], b) != value:
        return None
    rest = Counter(state)
    rest.subtract([a, b])
    if min(rest.values()) < 0 or Counter(left) != +rest + Counter([value]):
        return None
    return tuple(sorted(left))


def is_answer(numbers: Sequence[Number], target: int, line: str) -> bool:
    """Whether ``"Answer: EXPRESSION = TARGET"`` uses each number once and makes the target.

    An expression has whole numbers only: from fractions there is no answer.
    """
    body = line.removeprefix("Answer:")
    expression, _, claimed = body.partition("=")
    used = sorted(int(x) for x in _NUMBER.findall(expression))
    if used != sorted(numbers) or (claimed and claimed.strip() != str(target)):
        return False
    return evaluate(expression) == target


def has_answer(numbers: Sequence[Number]) -> bool:
    """Whether an answer can be written: expressions have whole numbers of 0 or more only."""
    return all(isinstance(n, int) and n >= 0 for n in numbers)


def pair_results(line: str) -> list[Number | None] | None:
    """What the two numbers that a line leaves make: sum, distance, product and quotient.

    The quotient is of the larger by the smaller; ``None`` stands for what is no whole number of 0
    or more. ``None`` in all if the line does not leave two numbers.
    """
    left = left_by(line)
    if left is None or len(left) != 2:
        return None
    a, b = sorted(left)
    made = [a + b, b - a, a * b, Fraction(b) / a if a else -1]
    return [int(x) if x >= 0 and Fraction(x).denominator == 1 else None for x in made]


def left_by(line: str) -> list[Number] | None:
    """The numbers that a line of work lists as left; ``None`` if it is no such line."""
    match = STEP.fullmatch(line)
    return to_numbers(match[5].split()) if match else None


def state_key(steps: Sequence[str]) -> tuple[str, ...]:
    """What the future of a solution depends on: the numbers left, or else its last line."""
    if not steps:
        return ()
    match = STEP.fullmatch(steps[-1])
    return tuple(sorted(match[5].split())) if match else (steps[-1],)
