"""Countdown solutions as other models write them: untidy where harmless, wishful where wrong.

A verifier that only saw the generator's own hand would take unsorted leftovers and decimals for
mistakes, and would believe a last line because it arrives at the target.
"""

import random
from fractions import Fraction

from reason_decode.tiny.countdown import STEP, Number, check, parse_prompt, step, to_numbers
from reason_decode.tiny.countdown_work import Work

_UNSORTED = 0.25
_DECIMAL = 0.5
_WISHFUL = 0.3


def roughen(rng: random.Random, work: Work) -> Work:
    """The same work in another hand; right steps stay right, a flawed one may become wishful."""
    problem = parse_prompt(work.prompt)
    if problem is None:
        return work
    steps = list(work.steps)
    if not work.right[-1] and rng.random() < _WISHFUL:
        state = _left_before(problem[0], steps)
        wishful = _wishful(rng, state, problem[1])
        if check(*problem, [*steps[:-1], wishful]) == list(work.right):
            steps[-1] = wishful
    decimal = rng.random() < _DECIMAL
    return work._replace(steps=tuple(_rewritten(rng, line, decimal) for line in steps))


def _left_before(numbers: tuple[int, ...], steps: list[str]) -> list[Number]:
    match = STEP.fullmatch(steps[-2]) if len(steps) > 1 else None
    left = to_numbers(match[5].split()) if match else None
    return left or list(numbers)


def _wishful(rng: random.Random, state: list[Number], target: int) -> str:
    """A line that arrives at the target by a wrong result or by a number from nowhere."""
    a = rng.choice(state)
    op = rng.choice("+-*")
    if len(state) > 1 and rng.random() < 0.5:
        b = rng.choice([x for k, x in enumerate(state) if k != state.index(a)])
    else:
        wanted = {"+": target - a, "-": a - target, "*": Fraction(target) / a if a else 1}[op]
        b = wanted if Fraction(wanted).denominator == 1 else rng.randint(1, 13)
    rest = [x for k, x in enumerate(state) if k != state.index(a) and x != b]
    left = [target] if rng.random() < 0.6 else sorted([*rest, target])
    return step(a, op, b, target, left)


def _rewritten(rng: random.Random, line: str, decimal: bool) -> str:
    match = STEP.fullmatch(line)
    if match is None:
        return line
    left = match[5].split()
    if rng.random() < _UNSORTED:
        rng.shuffle(left)
    words = [match[1], match[3], match[4], *left]
    if decimal:
        words = [_decimal(word) for word in words]
    a, b, value, *left = words
    return f"{a} {match[2]} {b} = {value} (left: {' '.join(left)})"


def _decimal(word: str) -> str:
    """``"5/2"`` -> ``"2.5"`` where two places are exact; anything else as it is."""
    numerator, slash, denominator = word.partition("/")
    if not slash or 100 % int(denominator):
        return word
    return f"{int(numerator) / int(denominator):g}"
