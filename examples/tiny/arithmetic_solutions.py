"""Worked arithmetic solutions, with or without a flaw, and a label for each step."""

import random
import re

from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode.tasks.arithmetic import Line, format_prompt, solve

_NUMBER = re.compile(r"-?\d+")
_OPERATION = re.compile(r"(-?\d+) ([-+*]) (-?\d+)")
_SLIPS = ("sign", "digit", "tens", "small")
# Ten off, as by a lost or made-up carry, is what the base gets wrong most often.
_SLIP_WEIGHTS = (1, 2, 3, 2)


def write(rng: random.Random, expression: str, flaw_at: float | None = None) -> WorkedSolution:
    """The worked solution of an expression, or a flawed one that ends with its wrong step.

    Args:
        rng: source of all randomness.
        expression: the problem.
        flaw_at: place of the wrong step, as a fraction in [0, 1) of the solution; ``None`` for no
            flaw.
    """
    lines = solve(expression)
    texts = [str(line) for line in lines]
    if flaw_at is not None:
        k = int(flaw_at * len(lines))
        before = lines[k - 1].rest if k else expression
        texts = [*texts[:k], _flawed(rng, lines[k], before)]
    right = [True] * len(texts)
    right[-1] = flaw_at is None
    return WorkedSolution(format_prompt(expression), tuple(texts), tuple(right))


def _flawed(rng: random.Random, line: Line, before: str) -> str:
    """The line with a wrong result, a wrong copy, or the wrong operation."""
    while True:
        chance = rng.random()
        if line.value is None or chance < 0.2:
            changed = line._replace(rest=_miscopied(rng, line.rest))
        elif chance < 0.9:
            wrong = _slip(rng, line.value)
            changed = line._replace(value=wrong, rest=_replace_number(line.rest, line.value, wrong))
        else:
            changed = _wrong_operation(rng, line, before)
        if changed != line:
            return str(changed)


def _slip(rng: random.Random, x: int) -> int:
    """A wrong value near ``x``: its sign, a digit, its tens, or a small amount is off."""
    (way,) = rng.choices(_SLIPS, _SLIP_WEIGHTS)
    if way == "sign" and x:
        return -x
    if way == "digit" and abs(x) >= 10:
        digits = list(str(abs(x)))
        k = rng.randrange(len(digits))
        digits[k] = str(rng.randrange(10))
        wrong = int("".join(digits)) * (-1 if x < 0 else 1)
        return wrong if wrong != x else x + 1
    if way == "tens":
        return x + rng.choice((-1, 1)) * rng.choice((10, 10, 10 * rng.randint(2, 9), 100))
    return x + rng.choice((-1, 1)) * rng.choice((1, 1, 2, 3, rng.randint(2, 12)))


def _replace_number(rest: str, old: int, new: int) -> str:
    """The text with the first occurrence of a number replaced."""
    return re.sub(rf"(?<!\d){re.escape(str(old))}(?!\d)", str(new), rest, count=1)


def _miscopied(rng: random.Random, rest: str) -> str:
    """The rest with one number changed, an operator changed, or the last term lost."""
    numbers = list(_NUMBER.finditer(rest))
    signs = list(re.finditer(r" [-+*] ", rest))
    way = rng.random()
    if signs and way < 0.3:
        at = rng.choice(signs)
        return rest[: at.start()] + rng.choice((" + ", " - ", " * ")) + rest[at.end() :]
    if signs and way < 0.4 and "(" not in rest:
        return rest[: signs[-1].start()]
    if not numbers:
        return rest
    at = rng.choice(numbers)
    return rest[: at.start()] + str(_slip(rng, int(at[0]))) + rest[at.end() :]


def _wrong_operation(rng: random.Random, line: Line, before: str) -> Line:
    """Right arithmetic on a pair that is not next, or the right pair with another operator."""
    pairs = list(_OPERATION.finditer(before))
    if not pairs:
        return line
    at = rng.choice(pairs)
    op = at[2] if rng.random() < 0.6 else rng.choice("+-*")
    a, b = int(at[1]), int(at[3])
    value = {"+": a + b, "-": a - b, "*": a * b}[op]
    rest = before[: at.start()] + str(value) + before[at.end() :]
    return line._replace(operation=f"{a} {op} {b}", value=value, rest=rest)
