"""What can be aimed at from the numbers that are left, and how that is found.

An aim is a last operation: two numbers that can be had, and make the target. Of three numbers each
may be the one that is used last: what it and the target make is what the other two would have to
make, and behind each number that they do make of those stands the aim. To make 36 of 4 6 10::

    (10 36: 46 26 360) (4 6: 10 2 24); (6 36: 42 30 216 6) (4 10: 14 6, 6 * 6, 40);
    (4 36: 40 32 144 9) (6 10: 16 4 60)

Of four numbers only what two pairs make is searched: what each number that a pair makes and the
target make would have to be made of the other two. To make 36 of 4 5 6 10, with the pair 4 10
first::

    (4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) (36 40: 76 4 1440) (5 6: 11 1 30, 30 + 6)

All lists are of one kind (sum, difference, product and, if it is whole, the quotient), so that what
was learnt of two numbers that are left holds for a target that was never seen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from reason_decode.tasks import countdown
from reason_decode.tasks.countdown import Number, State

__all__ = ["aims", "last", "searched", "ways"]


@lru_cache(1 << 18)
def aims(state: State) -> frozenset[State]:
    """Every two numbers, ascending, that can be what is left of a state."""
    if len(state) <= 2:
        return frozenset([state])
    return frozenset().union(
        *{aims(countdown.apply_move(state, move)) for move in countdown.moves(state)}
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
    """The search for aims from two, three or four whole numbers, as text, and the aims.

    Of two and three numbers all aims through whole numbers are found; of four those that take two
    numbers and the other two.

    Returns:
        ``None`` for another state: a longer search, or one through fractions, is not written out.
    """
    if not all(isinstance(x, int) and x >= 0 for x in state) or not 2 <= len(state) <= 4:
        return None
    whole = [int(x) for x in state]
    if len(whole) == 2:
        b, a = whole
        hits = [last(a, op, b) for op, value in _made(a, b).items() if value == target]
        return _listed(a, b, {}), hits
    three = len(whole) == 3
    parts: list[str] = []
    found: list[str] = []
    for k in (2, 1, 0) if three else (3, 2, 1):
        others = [x for place, x in enumerate(whole) if place != k]
        if three:
            shown, used = "", [whole[k]]
        else:
            b = others.pop(0)
            shown, used = f"{_listed(whole[k], b, {})} ", [*_made(whole[k], b).values()]
        part, hits = _part(dict.fromkeys(used), others[1], others[0], target)
        parts.append(shown + part)
        found += hits
    return "; ".join(parts), list(dict.fromkeys(found))


def _part(used: Iterable[int], a: int, b: int, target: int) -> tuple[str, list[str]]:
    """What some numbers would want, each as the one used last, and what the other two make."""
    lists: list[str] = []
    wanted: dict[int, list[str]] = {}
    for x in used:
        lists.append(_listed(max(x, target), min(x, target), {}))
        for value, aim in _wanted(target, x):
            wanted.setdefault(value, []).append(aim)
    found = [aim for value in _made(a, b).values() for aim in wanted.get(value, ())]
    return " ".join([*lists, _listed(a, b, wanted)]), found


def _wanted(target: int, x: int) -> Iterator[tuple[int, str]]:
    """What would have to be made of the others, so that one operation with x makes the target."""
    made = _made(max(x, target), min(x, target))
    yield made["+"], last(made["+"], "-", x)
    yield made["-"], last(made["-"], "+", x) if target >= x else last(x, "-", made["-"])
    if x:
        yield made["*"], last(made["*"], "/", x)
    if "/" in made:
        yield made["/"], last(made["/"], "*", x) if target >= x else last(x, "/", made["/"])


def _made(a: int, b: int) -> dict[str, int]:
    """What the operations make of a number and another that is no larger, in whole numbers."""
    found = {"+": a + b, "-": a - b, "*": a * b}
    return {**found, "/": a // b} if b and a % b == 0 else found


def _listed(a: int, b: int, aims: Mapping[int, Sequence[str]]) -> str:
    """What two numbers make, with the aims behind each number that has any."""
    told = [", ".join([str(x), *aims.get(x, ())]) for x in _made(a, b).values()]
    shown = "".join(f"{x}, " if "," in x else f"{x} " for x in told)
    return f"({b} {a}: {shown.rstrip(', ')})"
