"""What can be aimed at from the numbers that are left, and how that is found.

An aim is a last operation: two numbers that can be had, and make the target. Of three numbers each
may be the one that is used last: what would have to be made of the other two stands beside what
can be, and where both have a number in common there is an aim. To make 36 of 4 6 10::

    10: 26 46 (4 6: 10 2 24); 6: 30 42 6 (4 10: 14 6 40), 6 * 6; 4: 32 40 9 144 (6 10: 16 4 60)
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from reason_decode.tiny import countdown
from reason_decode.tiny.countdown import Number, State

__all__ = ["aims", "last", "searched", "ways"]

# What would have to be made, if it is larger, is not worth saying.
_MOST = 200


@lru_cache(1 << 18)
def aims(state: State) -> frozenset[State]:
    """Every two numbers, ascending, that can be what is left of a state."""
    if len(state) <= 2:
        return frozenset([state])
    return frozenset().union(
        *{aims(countdown.after(state, move)) for move in countdown.moves(state)}
    )


@lru_cache(1 << 6)
def ways(state: State) -> Mapping[Number, tuple[str, ...]]:
    """The last operations that a state may come to, as text, by what they make.

    Of a sum or a product the larger number stands first. Negative numbers are left out, with which
    everything can be said twice.
    """
    found: dict[Number, list[str]] = {}
    for pair in sorted(pair for pair in aims(state) if pair[0] >= 0):
        for move in countdown.moves(pair):
            told = last(pair[move.i], move.op, pair[move.j])
            texts = found.setdefault(move.value, [])
            if told not in texts:
                texts.append(told)
    return {value: tuple(texts) for value, texts in found.items()}


def last(a: Number, op: str, b: Number) -> str:
    """An aim as text."""
    return f"{b} {op} {a}" if op in "+*" and a < b else f"{a} {op} {b}"


def searched(state: State, target: int) -> tuple[str, list[str]] | None:
    """The search for aims from two or three whole numbers, as text, and the aims.

    Returns:
        ``None`` for another state: a longer search, or one through fractions, is not written out.
    """
    if not all(isinstance(x, int) and x >= 0 for x in state) or not 2 <= len(state) <= 3:
        return None
    whole = [int(x) for x in state]
    if len(whole) == 2:
        b, a = whole
        made = _made(a, b)
        told = f"{b} {a}: {' '.join(map(str, made.values()))}"
        return told, [last(a, op, b) for op, value in made.items() if value == target]
    parts: list[str] = []
    found: dict[str, None] = {}
    for k in reversed(range(3)):
        b, a = (x for place, x in enumerate(whole) if place != k)
        wanted, made = dict(_wanted(target, whole[k])), _made(a, b).values()
        hits = dict.fromkeys(wanted[value] for value in made if value in wanted)
        found |= hits
        told = f"{whole[k]}: {_listed(wanted)} ({b} {a}: {_listed(made)})"
        parts.append(", ".join([told, *hits]))
    return "; ".join(parts), list(found)


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _wanted(target: int, x: int) -> Iterator[tuple[int, str]]:
    """What would have to be made of the others, so that one operation with x makes the target."""
    if target >= x:
        yield target - x, last(target - x, "+", x)
    else:
        yield x - target, last(x, "-", x - target)
    yield target + x, last(target + x, "-", x)
    if x and target % x == 0:
        yield target // x, last(target // x, "*", x)
    elif x and x % target == 0:
        yield x // target, last(x, "/", x // target)
    if x and target * x <= _MOST:
        yield target * x, last(target * x, "/", x)


def _made(a: int, b: int) -> dict[str, int]:
    """What the operations make of a number and another that is no larger, in whole numbers."""
    found = {"+": a + b, "-": a - b, "*": a * b}
    return {**found, "/": a // b} if b and a % b == 0 else found
