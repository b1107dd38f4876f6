"""Random arithmetic problems in the manner of ``multistep_arithmetic_two``."""

import random


def multi_step(rng: random.Random, deep: bool = False) -> str:
    """A random expression: two parentheses of four numbers, or if ``deep`` two pairs of those."""

    def group() -> str:
        words = [str(rng.randint(-9, 9))]
        for _ in range(3):
            words += [rng.choice("+-*"), str(rng.randint(-9, 9))]
        return f"({' '.join(words)})"

    def pair(inner: list[str]) -> str:
        return f"({inner[0]} {rng.choice('+-*')} {inner[1]})"

    if not deep:
        return pair([group(), group()])
    return pair([pair([group(), group()]), pair([group(), group()])])


def short(rng: random.Random) -> str:
    """A random expression of one or two operations on numbers as large as later lines have."""
    most = rng.choice((12, 40, 99, 99, 400))
    words = [str(rng.randint(-most, most))]
    for _ in range(rng.choice((1, 1, 2))):
        op = rng.choice("+-*")
        other = rng.randint(-9, 9) * rng.choice((1, 1, 10)) if op == "*" else None
        words += [op, str(rng.randint(-most, most) if other is None else other)]
    return " ".join(words)
