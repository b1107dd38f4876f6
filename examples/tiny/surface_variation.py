"""Countdown solutions in the hand of other models: unsorted leftovers, decimals for fractions.

A verifier that only saw the generator's own hand would take these for mistakes.
"""

import random

from examples.tiny.countdown_work import Work
from reason_decode.tasks.countdown import STEP_PATTERN, format_step

_UNSORTED = 0.25
_DECIMAL = 0.5


def roughen(rng: random.Random, work: Work) -> Work:
    """The same work in another hand; what is right stays right, what is wrong stays wrong."""
    decimal = rng.random() < _DECIMAL
    return work._replace(steps=tuple(_rewritten(rng, line, decimal) for line in work.steps))


def _rewritten(rng: random.Random, line: str, decimal: bool) -> str:
    match = STEP_PATTERN.fullmatch(line)
    if match is None:
        return line
    left = match[5].split()
    if rng.random() < _UNSORTED:
        rng.shuffle(left)
    words = [match[1], match[3], match[4], *left]
    if decimal:
        words = [_decimal(word) for word in words]
    a, b, value, *left = words
    return format_step(a, match[2], b, value, left)


def _decimal(word: str) -> str:
    """``"5/2"`` -> ``"2.5"`` where two places are exact; anything else as it is."""
    numerator, slash, denominator = word.partition("/")
    if not slash or 100 % int(denominator):
        return word
    return f"{int(numerator) / int(denominator):g}"
