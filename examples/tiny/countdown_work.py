"""Worked countdown solutions, right ones and ones with a flaw, each step with its verdict."""

import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from reason_decode.tasks.countdown import (
    Move,
    Number,
    State,
    apply_move,
    apply_step,
    calculate,
    format_prompt,
    format_step,
    has_answer,
    is_answer,
    moves,
    reachable,
)

# Ways in which a step goes wrong, and how often each is written. A dead end (legal, but the target
# is out of reach afterwards) is what a search meets most; the others are what other models write.
FLAWS = ("dead end", "arithmetic", "left", "foreign", "wishful")
FLAW_WEIGHTS = (36, 9, 8, 11, 36)
# The last operation is where a wish is father to the result.
LAST_FLAW_WEIGHTS = (20, 10, 5, 5, 60)
GIVING_UP = (
    "Answer: None",
    "Answer: No solution",
    "Answer: Not possible",
    "Answer: There is no solution.",
    "Answer: There is no solution for this input.",
    "There is no solution.",
)


class Work(NamedTuple):
    """A problem, lines of work, and whether each is right.

    Only dead ends are followed by more: the first line that does not follow is the last.
    """

    prompt: str
    steps: tuple[str, ...]
    right: tuple[bool, ...]


class Term(NamedTuple):
    """A value with the expression it came from; ``level`` is 0 for atoms, 1 for * /, 2 for + -."""

    value: Number
    text: str
    level: int


@lru_cache(1 << 18)
def _sorted_moves(state: State, target: int) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """The moves after which the target can still be reached, and the others."""
    good: list[Move] = []
    bad: list[Move] = []
    for move in moves(state):
        (good if target in reachable(apply_move(state, move)) else bad).append(move)
    return tuple(good), tuple(bad)


def _pick(rng: random.Random, options: Sequence[Move], fractional: bool = False) -> Move:
    """A random move; four times in five one with a result of the kind that is preferred.

    That is a whole number of at least 0, or else, if ``fractional``, a fraction.
    """
    liked = [m for m in options if (isinstance(m.value, int) and m.value >= 0) is not fractional]
    return rng.choice(liked if liked and rng.random() < 0.8 else options)


def _join(rng: random.Random, a: Term, op: str, b: Term, value: Number) -> Term:
    """The expression ``a op b`` with the parentheses it needs, or now and then one pair more."""
    level = 2 if op in "+-" else 1
    lavish = rng.random() < 0.2

    def inside(term: Term, right: bool) -> str:
        needed = term.level > level or (right and term.level == level and op in "-/")
        if term.level and (needed or lavish):
            return f"({term.text})"
        return term.text

    return Term(value, f"{inside(a, False)} {op} {inside(b, True)}", level)


def write(
    rng: random.Random,
    numbers: Sequence[Number],
    target: int,
    flaw_at: int | None = None,
    *,
    fractional: bool = False,
    onward: bool = False,
) -> Work:
    """A random solution; with ``flaw_at=k`` its k-th step (0-based) is wrong and is the last.

    Args:
        rng: the only source of chance.
        numbers: numbers from which the target can be reached.
        target: the number to make.
        flaw_at: index of the flawed step; ``len(numbers) - 1`` is the answer, if the problem
            ``has_answer``; ``None`` for no flaw.
        fractional: prefer a way through fractions and negative numbers, where there is one.
        onward: a flaw that is a dead end is followed by more, up to a line that does not follow or
            to the last number.
    """
    terms = sorted((Term(n, str(n), 0) for n in numbers), key=lambda term: term.value)
    lines: list[str] = []
    parts: list[Term] = []
    for k in range(len(numbers) - 1):
        state = tuple(term.value for term in terms)
        good, bad = _sorted_moves(state, target)
        if k == flaw_at:
            lines += _flawed_steps(rng, state, target, fractional, onward)
            right = (True,) * k + (False,) * (len(lines) - k)
            return Work(format_prompt(numbers, target), tuple(lines), right)
        move = _pick(rng, good, fractional)
        a, b = terms[move.i], terms[move.j]
        made = _join(rng, a, move.op, b, move.value)
        parts.append(made)
        terms = [term for i, term in enumerate(terms) if i not in (move.i, move.j)]
        terms = sorted([*terms, made], key=lambda term: term.value)
        left = [term.value for term in terms]
        lines.append(format_step(a.value, move.op, b.value, move.value, left))
    if not has_answer(numbers):
        return _work(numbers, target, lines, flawed=False)
    flawed = flaw_at is not None
    answer = f"Answer: {terms[0].text} = {target}"
    lines.append(_flawed_answer(rng, parts, numbers, target) if flawed else answer)
    return _work(numbers, target, lines, flawed)


def _flawed_steps(
    rng: random.Random, state: State, target: int, fractional: bool, onward: bool
) -> Iterator[str]:
    """A flawed step and, ``onward``, what comes after it: all as hopeless."""
    here: State | None = state
    while here is not None and len(here) > 1:
        good, bad = _sorted_moves(here, target)
        line = _flawed_step(rng, here, target, good, bad, fractional)
        yield line
        here = apply_step(here, line) if onward else None


def _work(numbers: Sequence[Number], target: int, lines: list[str], flawed: bool) -> Work:
    right = (True,) * (len(lines) - 1) + (not flawed,)
    return Work(format_prompt(numbers, target), tuple(lines), right)


def _flawed_step(
    rng: random.Random,
    state: State,
    target: int,
    good: Sequence[Move],
    bad: Sequence[Move],
    fractional: bool,
) -> str:
    weights = FLAW_WEIGHTS if len(state) > 2 else LAST_FLAW_WEIGHTS
    kind = rng.choices(FLAWS, weights)[0]
    if kind == "wishful":
        foreseeing = len(state) == 3 and rng.random() < 0.7
        return (_foreseeing if foreseeing else _wishful)(rng, state, target)
    if kind == "dead end" and bad:
        # Where fractions lead somewhere, most of them still lead nowhere.
        move = _pick(rng, bad, fractional)
        return _line(rng, state, move)
    if rng.random() < 0.1:
        return rng.choice(GIVING_UP)
    move = _pick(rng, good if not bad or (good and rng.random() < 0.7) else bad, fractional)
    return _SPOIL.get(kind, _wrong_value)(rng, state, move)


def _line(rng: random.Random, state: State, move: Move) -> str:
    left = list(apply_move(state, move))
    if rng.random() < 0.1:
        rng.shuffle(left)
    return format_step(state[move.i], move.op, state[move.j], move.value, left)


def _near(rng: random.Random, x: Number) -> Number:
    """A wrong value near the right one, as slips are: off by one or ten, or a digit changed.

    Of a fraction, it is mostly the numerator or the denominator that is off.
    """
    if isinstance(x, Fraction) and rng.random() < 0.7:
        slip = rng.choice((-2, -1, 1, 2))
        above, below = (slip, 0) if rng.random() < 0.7 else (0, abs(slip))
        return Fraction(x.numerator + above, x.denominator + below)
    return x + rng.choice((-10, -2, -1, 1, 2, 10, rng.randint(3, 9), -rng.randint(3, 9)))


def _wrong_value(rng: random.Random, state: State, move: Move) -> str:
    """A wrong result, carried into what is left."""
    value = _near(rng, move.value)
    left = apply_move(state, move._replace(value=value))
    return format_step(state[move.i], move.op, state[move.j], value, left)


def _wrong_left(rng: random.Random, state: State, move: Move) -> str:
    """The right result, but a list of what is left that lost, kept, gained or changed a number."""
    left = list(apply_move(state, move))
    used = state[move.i], state[move.j]
    way = rng.randrange(4)
    if way == 0 and len(left) > 1:
        left.pop(rng.randrange(len(left)))
    elif way == 1:
        left.append(rng.choice(used))
    elif way == 2:
        left.append(rng.randint(1, 13))
    else:
        k = rng.randrange(len(left))
        left[k] = _near(rng, left[k])
    return format_step(state[move.i], move.op, state[move.j], move.value, sorted(left))


def _foreign(rng: random.Random, state: State, move: Move) -> str:
    """Right arithmetic on a number that is not there, or on one number twice."""
    a = state[move.i]
    if rng.random() < 0.4 and state.count(a) == 1:
        b = a
    else:
        b = rng.choice([n for n in range(1, 14) if n not in state])
    left = [x for k, x in enumerate(state) if k != move.i]
    if rng.random() < 0.5 and len(left) > 1:
        left.pop(rng.randrange(len(left)))
    op = rng.choice("+-*")
    value = calculate(a, op, b)
    return format_step(a, op, b, value, sorted([*left, value]))


def _wishful(rng: random.Random, state: State, target: int) -> str:
    """A line that arrives at the target by a wrong result, a leap, or a number from nowhere."""
    while True:
        i, j = rng.sample(range(len(state)), 2)
        a, b = state[i], state[j]
        results = _results(a, b)
        near = min(results, key=lambda op: abs(results[op] - target))
        op = near if rng.random() < 0.5 else rng.choice([*results])
        rest = [x for k, x in enumerate(state) if k not in (i, j)]
        left = [target] if rng.random() < 0.6 else sorted([*rest, target])
        way, claimed = rng.random(), target
        if way < 0.2:
            claimed = results[op]
        elif way < 0.4:
            ratio = Fraction(target) / a if a else 1
            wanted = {"+": target - a, "-": a - target, "*": ratio, "/": Fraction(a) / target}[op]
            b = int(wanted) if Fraction(wanted).denominator == 1 else rng.randint(1, 13)
        elif way < 0.5:
            b = f"{b} {rng.choice('+-*/')} {rng.choice((*state, rng.randint(1, 13)))}"
        line = format_step(a, op, b, claimed, left)
        if apply_step(state, line) is None:
            return line


def _results(a: Number, b: Number) -> dict[str, Number]:
    """Every operation that is allowed on two numbers, with its result."""
    return {op: calculate(a, op, b) for op in "+-*/" if op != "/" or b}


def _foreseeing(rng: random.Random, state: State, target: int) -> str:
    """A line whose result is wrong, but is what the next operation would need.

    Only its arithmetic tells: the target can be made from what it leaves.
    """
    while True:
        i, j, k = rng.sample(range(3), 3)
        a, b, other = state[i], state[j], state[k]
        wanted = [target - other, target + other, other - target]
        if other:
            wanted += [target * other, Fraction(target) / other]
        value = rng.choice(wanted)
        text = str(value)
        if isinstance(value, Fraction) and isinstance(other, int) and rng.random() < 0.5:
            text = f"{target}/{other}"
        shown = sorted([(other, str(other)), (value, text)])
        results = _results(a, b)
        near = min(results, key=lambda op: abs(results[op] - value))
        op = near if rng.random() < 0.5 else rng.choice([*results])
        line = format_step(a, op, b, text, [word for _, word in shown])
        if value >= 0 and apply_step(state, line) is None:
            return line


_SPOIL: dict[str, Callable[[random.Random, State, Move], str]] = {
    "arithmetic": _wrong_value,
    "left": _wrong_left,
    "foreign": _foreign,
}


def _flawed_answer(
    rng: random.Random, parts: Sequence[Term], numbers: Sequence[Number], target: int
) -> str:
    """An answer that misuses a number, an operator, a part or a parenthesis, or gives up.

    ``parts`` are what the steps made, the whole expression last.
    """
    if rng.random() < 0.1:
        return rng.choice(GIVING_UP)
    text = parts[-1].text
    while True:
        spoiled = _spoiled(rng, text, parts, numbers)
        line = f"Answer: {spoiled} = {target}"
        if not is_answer(numbers, target, line):
            return line
        text = text if rng.random() < 0.5 else spoiled


def _spoiled(
    rng: random.Random, text: str, parts: Sequence[Term], numbers: Sequence[Number]
) -> str:
    chance = rng.random()
    if len(parts) > 2 and chance < 0.25:
        # Two parts are joined, whatever they share and whatever they leave out.
        one, other = rng.sample(parts[:-1], 2)
        collapsed = _collapsed(other.text, one) if rng.random() < 0.6 else other.text
        return f"({one.text}) {rng.choice('+-**')} ({collapsed})"
    if len(parts) > 1 and chance < 0.55:
        return _collapsed(text, rng.choice(parts[:-1]))
    words = text.replace("(", "( ").replace(")", " )").split()
    way = rng.randrange(4)
    # What was spoiled before may have become a single fraction.
    ops = [i for i, word in enumerate(words) if word in "+-*/"]
    places = [i for i, word in enumerate(words) if word.isdigit()]
    if way == 0 and ops:
        words[rng.choice(ops)] = rng.choice("+-*/")
    elif way == 1 and places:
        words[rng.choice(places)] = str(rng.choice([*numbers, rng.randint(1, 13)]))
    elif way == 2:
        words = [word for word in words if word not in "()"]
    else:
        words += [rng.choice("+-*"), str(rng.choice(numbers))]
    return " ".join(words).replace("( ", "(").replace(" )", ")")


def _collapsed(text: str, part: Term) -> str:
    """An expression in which a part stands as its value: the numbers that made it are missing."""
    return text.replace(f"({part.text})", str(part.value)).replace(part.text, str(part.value))
