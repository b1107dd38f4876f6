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

# Entries of each cache: as many as the training recipe meets again within a few steps; a cache
# without a bound would grow for hours.
_CACHE_SIZE = 1 << 19

# Whole numbers stay ints: they hash and compare equal to Fractions, and much faster.
Number = int | Fraction
State = tuple[Number, ...]


class Move(NamedTuple):
    """One operation on two numbers of a state.

    Attributes:
        i: index of the left operand in the state.
        op: one of ``+ - * /``.
        j: index of the right operand in the state.
        value: the exact result.
    """

    i: int
    op: str
    j: int
    value: Number


@lru_cache(_CACHE_SIZE)
def moves(state: State) -> tuple[Move, ...]:
    """Every distinct operation on two numbers of a state, without divisions by zero."""
    found: dict[tuple[Number, str, Number], Move] = {}
    for i, a in enumerate(state):
        for j, b in enumerate(state):
            if i == j:
                continue
            for op in "+-*/":
                if op == "/" and b == 0:
                    continue
                found.setdefault((a, op, b), Move(i, op, j, calculate(a, op, b)))
    return tuple(found.values())


def calculate(a: Number, op: str, b: Number) -> Number:
    """The exact value of ``a op b``.

    Raises:
        ZeroDivisionError: a division by zero.
    """
    if op == "+":
        return _as_int(a + b)
    if op == "-":
        return _as_int(a - b)
    return _as_int(a * b if op == "*" else Fraction(a) / b)


def _as_int(x: Number) -> Number:
    """An int in place of a fraction that is whole."""
    return x.numerator if x.denominator == 1 else x


@lru_cache(_CACHE_SIZE)
def apply_move(state: State, move: Move) -> State:
    """The state after a move, in ascending order."""
    rest = [x for k, x in enumerate(state) if k not in (move.i, move.j)]
    return tuple(sorted([*rest, move.value]))


@lru_cache(_CACHE_SIZE)
def reachable(state: State) -> frozenset[Number]:
    """Every value that some expression of all the numbers of a state has, by brute force."""
    if len(state) == 1:
        return frozenset(state)
    if len(state) == 2:
        return frozenset(move.value for move in moves(state))
    return frozenset().union(*{reachable(apply_move(state, move)) for move in moves(state)})


def format_prompt(numbers: Sequence[Number], target: int) -> str:
    r"""The prompt of a problem: ``"Make 24 from 4 5 6 10.\n"``."""
    return f"Make {target} from {' '.join(map(str, numbers))}.\n"


def format_step(
    a: Number | str, op: str, b: Number | str, value: Number | str, left: Sequence[Number | str]
) -> str:
    """One line of work: ``"10 - 4 = 6 (left: 5 6 6)"``.

    Args:
        a: the left operand, a number or its text.
        op: one of ``+ - * /``.
        b: the right operand, a number or its text.
        value: the result, a number or its text.
        left: the numbers that are left afterwards, or their texts.
    """
    return f"{a} {op} {b} = {value} (left: {' '.join(map(str, left))})"


STEP_PATTERN = re.compile(r"(\S+) ([-+*/]) (\S+) = (\S+) \(left: ([^()]*)\)")
"""A line of work; its groups are the arguments of ``format_step``, as text."""
_PROMPT = re.compile(r"Make (-?\d+) from ([-/\d ]+)\.\s*")
_NUMBER = re.compile(r"\d{1,3}")


def parse_prompt(text: str) -> tuple[State, int] | None:
    """The numbers and the target of a prompt; ``None`` if it is no countdown problem."""
    match = _PROMPT.fullmatch(text)
    numbers = parse_numbers(match[2].split()) if match else None
    return (tuple(numbers), int(match[1])) if match and numbers else None


def parse_numbers(words: Sequence[str]) -> list[Number] | None:
    """Exact values of words (``"3"``, ``"8/3"``, ``"2.5"``); ``None`` if one is no number."""
    try:
        return [_as_int(Fraction(word)) for word in words]
    except (ValueError, ZeroDivisionError):
        return None


def grade_steps(
    numbers: Sequence[Number],
    target: int,
    steps: Sequence[str],
    *,
    past_dead_ends: bool = False,
    require_reachable: bool = True,
) -> list[bool]:
    """Verdicts on steps, true for right ones, up to and including the first wrong one.

    A step is right if its arithmetic is, it uses two numbers that are left, it lists what is left
    (in any order) and the target can still be reached. An answer is right if its expression uses
    the given numbers, each once, and equals the target.

    Args:
        numbers: the numbers of the problem.
        target: the number to reach.
        steps: lines of work, without newlines.
        past_dead_ends: grade on after dead ends (steps that are valid but leave the target out of
            reach), up to the first step that is not valid.
        require_reachable: whether a dead end counts as wrong.

    Returns:
        One bool for each graded step.
    """
    verdicts: list[bool] = []
    state: State | None = tuple(sorted(numbers))
    for line in steps:
        if line.startswith("Answer:"):
            verdicts.append(is_answer(numbers, target, line))
            state = None
        else:
            state = apply_step(state, line)
            reached = not require_reachable or (state is not None and target in reachable(state))
            verdicts.append(state is not None and reached)
        if not verdicts[-1] and not (past_dead_ends and state):
            break
    return verdicts


def apply_step(state: State | None, line: str) -> State | None:
    """The state after a line of work; ``None`` if the line is not valid in this state.

    Args:
        state: the numbers that are left; ``None`` gives ``None``.
        line: text such as ``"10 - 4 = 6 (left: 5 6 6)"``.
    """
    match = STEP_PATTERN.fullmatch(line)
    if match is None or state is None:
        return None
    parsed = parse_numbers([match[1], match[3], match[4]])
    left = parse_numbers(match[5].split())
    if parsed is None or left is None:
        return None
    a, b, value = parsed
    if (match[2] == "/" and b == 0) or calculate(a, match[2], b) != value:
        return None
    rest = Counter(state)
    rest.subtract([a, b])
    if min(rest.values()) < 0 or Counter(left) != +rest + Counter([value]):
        return None
    return tuple(sorted(left))


def is_answer(numbers: Sequence[Number], target: int, line: str) -> bool:
    """True if the expression of ``"Answer: EXPRESSION = TARGET"`` solves the problem.

    The expression has to use each number once and to equal the target. Expressions have whole
    numbers only, so problems with fractions have no answer.
    """
    body = line.removeprefix("Answer:")
    expression, _, claimed = body.partition("=")
    used = sorted(int(x) for x in _NUMBER.findall(expression))
    if used != sorted(numbers) or (claimed and claimed.strip() != str(target)):
        return False
    return evaluate(expression) == target


def has_answer(numbers: Sequence[Number]) -> bool:
    """True if an answer can be written for these numbers: all are whole and at least 0."""
    return all(isinstance(n, int) and n >= 0 for n in numbers)


def numbers_left(line: str) -> list[Number] | None:
    """The numbers that a line of work lists as left; ``None`` if it is no such line."""
    match = STEP_PATTERN.fullmatch(line)
    return parse_numbers(match[5].split()) if match else None


def state_key(steps: Sequence[str]) -> tuple[str, ...]:
    """Key of a solution's state: the numbers that are left, or else its last line."""
    if not steps:
        return ()
    match = STEP_PATTERN.fullmatch(steps[-1])
    return tuple(sorted(match[5].split())) if match else (steps[-1],)
