"""Countdown solutions rewritten as other models write: unsorted leftovers, decimal fractions.

A verifier that only ever read the generator's own style would take these for mistakes.
"""

import random

from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode.tasks.countdown import STEP_PATTERN, format_step

_UNSORTED = 0.25
_DECIMAL = 0.5


def vary_surface(rng: random.Random, solution: WorkedSolution) -> WorkedSolution:
    """The same solution in another style; labels stay as they are.

    Args:
        rng: source of all randomness.
        solution: a countdown solution.
    """
    decimal = rng.random() < _DECIMAL
    steps = tuple(_vary_line(rng, line, decimal) for line in solution.steps)
    return solution._replace(steps=steps)


def _vary_line(rng: random.Random, line: str, decimal: bool) -> str:
    match = STEP_PATTERN.fullmatch(line)
    if match is None:
        return line
    left = match[5].split()
    if rng.random() < _UNSORTED:
        rng.shuffle(left)
    words = [match[1], match[3], match[4], *left]
    if decimal:
        words = [_to_decimal(word) for word in words]
    a, b, value, *left = words
    return format_step(a, match[2], b, value, left)


def _to_decimal(word: str) -> str:
    """``"5/2"`` -> ``"2.5"`` if two decimals are exact; any other word unchanged."""
    numerator, slash, denominator = word.partition("/")
    if not slash or 100 % int(denominator):
        return word
    return f"{int(numerator) / int(denominator):g}"
