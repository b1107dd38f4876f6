"""Worked countdown solutions, with or without a flaw, and a label for each step."""

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

# Kinds of wrong steps, and how often each is written. A dead end is valid but leaves the target out
# of reach; a search meets it most often. The other kinds are the mistakes of other models.
FLAWS = ("dead end", "arithmetic", "left", "foreign", "wishful")
FLAW_WEIGHTS = (36, 9, 8, 11, 36)
# At the last operation models most often claim a wrong result because it is the target.
LAST_FLAW_WEIGHTS = (20, 10, 5, 5, 60)
GIVING_UP = (
    "Answer: None",
    "Answer: No solution",
    "Answer: Not possible",
    "Answer: There is no solution.",
    "Answer: There is no solution for this input.",
    "There is no solution.",
)


_PREFERRED_RESULT = 0.8
_REDUNDANT_PARENTHESES = 0.2
_GIVES_UP = 0.1


class WorkedSolution(NamedTuple):
    """A prompt, the steps of a solution, and whether each step is right.

    Steps may follow a dead end. A step that is not valid is the last.
    """

    prompt: str
    steps: tuple[str, ...]
    right: tuple[bool, ...]


class Term(NamedTuple):
    """A value and the expression that makes it.

    Attributes:
        value: the exact value.
        text: the expression.
        level: 0 for a number, 1 for ``* /``, 2 for ``+ -``.
    """

    value: Number
    text: str
    level: int


@lru_cache(1 << 18)
def _split_moves(state: State, target: int) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """The moves after which the target can still be reached, and the other moves."""
    good: list[Move] = []
    bad: list[Move] = []
    for move in moves(state):
        (good if target in reachable(apply_move(state, move)) else bad).append(move)
    return tuple(good), tuple(bad)


def _pick_move(rng: random.Random, options: Sequence[Move], fractional: bool = False) -> Move:
    """A random move; four times in five its result is of the preferred kind.

    Preferred is a whole number of at least 0, or if ``fractional`` any other number.
    """
    liked = [m for m in options if (isinstance(m.value, int) and m.value >= 0) is not fractional]
    return rng.choice(liked if liked and rng.random() < _PREFERRED_RESULT else options)


def _join(rng: random.Random, a: Term, op: str, b: Term, value: Number) -> Term:
    """The expression ``a op b`` with the parentheses it needs, one time in five with more."""
    level = 2 if op in "+-" else 1
    redundant = rng.random() < _REDUNDANT_PARENTHESES
    left = _in_parentheses(a, redundant or a.level > level)
    right = _in_parentheses(b, redundant or b.level > level or (b.level == level and op in "-/"))
    return Term(value, f"{left} {op} {right}", level)


def _in_parentheses(term: Term, wanted: bool) -> str:
    """The text of a term; operations in parentheses if that is wanted, numbers never."""
    return f"({term.text})" if wanted and term.level else term.text


def write(
    rng: random.Random,
    numbers: Sequence[Number],
    target: int,
    flaw_at: int | None = None,
    *,
    fractional: bool = False,
    past_dead_ends: bool = False,
) -> WorkedSolution:
    """A random solution, or a flawed one that ends with its first wrong step.

    Args:
        rng: source of all randomness.
        numbers: numbers from which the target can be reached.
        target: the number to reach.
        flaw_at: index of the flawed step; ``len(numbers) - 1`` is the answer, if the problem
            ``has_answer``; ``None`` for no flaw.
        fractional: whether to prefer ways through fractions and negative numbers.
        past_dead_ends: whether a flaw that is a dead end is followed by more steps, up to one that
            is not valid or to the last number.
    """
    terms = sorted((Term(n, str(n), 0) for n in numbers), key=lambda term: term.value)
    lines: list[str] = []
    parts: list[Term] = []
    for k in range(len(numbers) - 1):
        state = tuple(term.value for term in terms)
        good, bad = _split_moves(state, target)
        if k == flaw_at:
            lines += _flawed_steps(rng, state, target, fractional, past_dead_ends)
            right = (True,) * k + (False,) * (len(lines) - k)
            return WorkedSolution(format_prompt(numbers, target), tuple(lines), right)
        move = _pick_move(rng, good, fractional)
        a, b = terms[move.i], terms[move.j]
        result = _join(rng, a, move.op, b, move.value)
        parts.append(result)
        terms = [term for i, term in enumerate(terms) if i not in (move.i, move.j)]
        terms = sorted([*terms, result], key=lambda term: term.value)
        left = [term.value for term in terms]
        lines.append(format_step(a.value, move.op, b.value, move.value, left))
    if not has_answer(numbers):
        return _with_labels(numbers, target, lines, flawed=False)
    flawed = flaw_at is not None
    answer = f"Answer: {terms[0].text} = {target}"
    lines.append(_flawed_answer(rng, parts, numbers, target) if flawed else answer)
    return _with_labels(numbers, target, lines, flawed)


def _flawed_steps(
    rng: random.Random, state: State, target: int, fractional: bool, past_dead_ends: bool
) -> Iterator[str]:
    """A flawed step; with ``past_dead_ends`` also the steps after it, which are wrong, too."""
    current: State | None = state
    while current is not None and len(current) > 1:
        good, bad = _split_moves(current, target)
        line = _flawed_step(rng, current, target, good, bad, fractional)
        yield line
        current = apply_step(current, line) if past_dead_ends else None


def _with_labels(
    numbers: Sequence[Number], target: int, lines: list[str], flawed: bool
) -> WorkedSolution:
    right = (True,) * (len(lines) - 1) + (not flawed,)
    return WorkedSolution(format_prompt(numbers, target), tuple(lines), right)


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
        claim = _claim_needed_value if foreseeing else _claim_target
        return claim(rng, state, target)
    if kind == "dead end" and bad:
        # A problem that is solved through fractions has many dead ends through fractions, too.
        move = _pick_move(rng, bad, fractional)
        return _move_line(rng, state, move)
    if rng.random() < _GIVES_UP:
        return rng.choice(GIVING_UP)
    move = _pick_move(rng, good if not bad or (good and rng.random() < 0.7) else bad, fractional)
    return _FLAW_WRITERS.get(kind, _wrong_value)(rng, state, move)


def _move_line(rng: random.Random, state: State, move: Move) -> str:
    """The line of a move; one time in ten the numbers left are not sorted."""
    left = list(apply_move(state, move))
    if rng.random() < 0.1:
        rng.shuffle(left)
    return format_step(state[move.i], move.op, state[move.j], move.value, left)


def _near_miss(rng: random.Random, x: Number) -> Number:
    """A wrong value near ``x``: off by one, by ten, or by a small amount.

    For a fraction mostly the numerator or the denominator is off.
    """
    if isinstance(x, Fraction) and rng.random() < 0.7:
        slip = rng.choice((-2, -1, 1, 2))
        above, below = (slip, 0) if rng.random() < 0.7 else (0, abs(slip))
        return Fraction(x.numerator + above, x.denominator + below)
    return x + rng.choice((-10, -2, -1, 1, 2, 10, rng.randint(3, 9), -rng.randint(3, 9)))


def _wrong_value(rng: random.Random, state: State, move: Move) -> str:
    """A step with a wrong result, which is also among the numbers left."""
    value = _near_miss(rng, move.value)
    left = apply_move(state, move._replace(value=value))
    return format_step(state[move.i], move.op, state[move.j], value, left)


def _wrong_left(rng: random.Random, state: State, move: Move) -> str:
    """A step with the right result and a wrong list of the numbers left."""
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
        left[k] = _near_miss(rng, left[k])
    return format_step(state[move.i], move.op, state[move.j], move.value, sorted(left))


def _foreign(rng: random.Random, state: State, move: Move) -> str:
    """A step with right arithmetic on a number that is not there, or on one number twice."""
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


def _claim_target(rng: random.Random, state: State, target: int) -> str:
    """A step that claims to leave the target, by a wrong result, a leap, or a made-up number."""
    while True:
        i, j = rng.sample(range(len(state)), 2)
        a, b = state[i], state[j]
        results = _results(a, b)
        nearest = min(results, key=lambda op: abs(results[op] - target))
        op = nearest if rng.random() < 0.5 else rng.choice([*results])
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
    """The result of each operation that is allowed on two numbers, by operator."""
    return {op: calculate(a, op, b) for op in "+-*/" if op != "/" or b}


def _claim_needed_value(rng: random.Random, state: State, target: int) -> str:
    """A step whose result is wrong but is the value that the next operation would need.

    Only its arithmetic shows the mistake: the target can be reached from what it leaves.
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
        nearest = min(results, key=lambda op: abs(results[op] - value))
        op = nearest if rng.random() < 0.5 else rng.choice([*results])
        line = format_step(a, op, b, text, [word for _, word in shown])
        if value >= 0 and apply_step(state, line) is None:
            return line


_FLAW_WRITERS: dict[str, Callable[[random.Random, State, Move], str]] = {
    "arithmetic": _wrong_value,
    "left": _wrong_left,
    "foreign": _foreign,
}


def _flawed_answer(
    rng: random.Random, parts: Sequence[Term], numbers: Sequence[Number], target: int
) -> str:
    """A wrong answer: a number, an operator or a parenthesis is wrong, or it gives up.

    Args:
        rng: source of all randomness.
        parts: the results of the steps; the last one is the whole expression.
        numbers: the numbers of the problem.
        target: the number to reach.
    """
    if rng.random() < _GIVES_UP:
        return rng.choice(GIVING_UP)
    text = parts[-1].text
    while True:
        changed = _changed_expression(rng, text, parts, numbers)
        line = f"Answer: {changed} = {target}"
        if not is_answer(numbers, target, line):
            return line
        text = text if rng.random() < 0.5 else changed


def _changed_expression(
    rng: random.Random, text: str, parts: Sequence[Term], numbers: Sequence[Number]
) -> str:
    """An expression after one random change."""
    chance = rng.random()
    if len(parts) > 2 and chance < 0.25:
        # Join two parts, which may share numbers or leave some out.
        one, other = rng.sample(parts[:-1], 2)
        collapsed = _with_value(other.text, one) if rng.random() < 0.6 else other.text
        return f"({one.text}) {rng.choice('+-**')} ({collapsed})"
    if len(parts) > 1 and chance < 0.55:
        return _with_value(text, rng.choice(parts[:-1]))
    words = text.replace("(", "( ").replace(")", " )").split()
    way = rng.randrange(4)
    # An earlier change may have left a single fraction, without operators or whole numbers.
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


def _with_value(text: str, part: Term) -> str:
    """The expression with a part replaced by its value, so that the part's numbers are missing."""
    return text.replace(f"({part.text})", str(part.value)).replace(part.text, str(part.value))
