"""Searches for aims: last operations of a countdown solution, found from the numbers that are left.

An aim is a last operation on two numbers that can be made and that give the target. From three
numbers, each may be the one that is used last: the target and that number give the values that the
other two would have to make, and the aim is written after each value that they do make. To make 36
from 4 6 10::

    (10 36: 46 26 360) (4 6: 10 2 24); (6 36: 42 30 216 6) (4 10: 14 6, 6 * 6, 40);
    (4 36: 40 32 144 9) (6 10: 16 4 60)

From four numbers only solutions that join two pairs are searched: each value of a pair and the
target give the values that the other pair would have to make. To make 36 from 4 5 6 10, with the
pair 4 10 first::

    (4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) (36 40: 76 4 1440) (5 6: 11 1 30, 30 + 6)

All lists have the same form (sum, difference, product and, if it is whole, the quotient), so that
what a model learns about two numbers holds for a target that it has never seen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from reason_decode.tasks import countdown
from reason_decode.tasks.countdown import Number, State

__all__ = ["format_aim", "last_operations", "last_pairs", "search_aims"]


@lru_cache(1 << 18)
def last_pairs(state: State) -> frozenset[State]:
    """Every two numbers, ascending, that can be left of a state."""
    if len(state) <= 2:
        return frozenset([state])
    return frozenset().union(
        *{last_pairs(countdown.apply_move(state, move)) for move in countdown.moves(state)}
    )


@lru_cache(1 << 6)
def last_operations(state: State) -> Mapping[Number, tuple[str, ...]]:
    """All last operations that a state can come to, as text, by their result.

    A sum or a product has the larger number first. Negative numbers are left out: each operation
    with one can be written as another operation without.
    """
    found: dict[Number, list[str]] = {}
    for pair in sorted(pair for pair in last_pairs(state) if pair[0] >= 0):
        for move in countdown.moves(pair):
            text = format_aim(pair[move.i], move.op, pair[move.j])
            texts = found.setdefault(move.value, [])
            if text not in texts:
                texts.append(text)
    return {value: tuple(texts) for value, texts in found.items()}


def format_aim(a: Number, op: str, b: Number) -> str:
    """``a op b`` as text; sums and products have the larger number first."""
    return f"{b} {op} {a}" if op in "+*" and a < b else f"{a} {op} {b}"


def search_aims(state: State, target: int) -> tuple[str, list[str]] | None:
    """The text of a search for aims, and the aims that it finds.

    From two and three numbers the search finds every aim of whole numbers; from four numbers those
    that join two pairs.

    Args:
        state: the numbers that are left.
        target: the number to reach.

    Returns:
        ``None`` if the search is not written out: for more than four numbers, fractions or negative
        numbers.
    """
    if not all(isinstance(x, int) and x >= 0 for x in state) or not 2 <= len(state) <= 4:
        return None
    whole = [int(x) for x in state]
    if len(whole) == 2:
        b, a = whole
        hits = [format_aim(a, op, b) for op, value in _results(a, b).items() if value == target]
        return _format_results(a, b, {}), hits
    three = len(whole) == 3
    parts: list[str] = []
    found: list[str] = []
    for k in (2, 1, 0) if three else (3, 2, 1):
        others = [x for place, x in enumerate(whole) if place != k]
        if three:
            shown, used = "", [whole[k]]
        else:
            b = others.pop(0)
            shown, used = f"{_format_results(whole[k], b, {})} ", [*_results(whole[k], b).values()]
        part, hits = _search_part(dict.fromkeys(used), others[1], others[0], target)
        parts.append(shown + part)
        found += hits
    return "; ".join(parts), list(dict.fromkeys(found))


def _search_part(used: Iterable[int], a: int, b: int, target: int) -> tuple[str, list[str]]:
    """The part of a search in which some number is used last and two others are joined first.

    Args:
        used: numbers each of which may be used last.
        a: the larger of the two other numbers.
        b: the smaller of them.
        target: the number to reach.

    Returns:
        The text of the part, and the aims that it finds.
    """
    lists: list[str] = []
    needed: dict[int, list[str]] = {}
    for x in used:
        lists.append(_format_results(max(x, target), min(x, target), {}))
        for value, aim in _needed_values(target, x):
            needed.setdefault(value, []).append(aim)
    found = [aim for value in _results(a, b).values() for aim in needed.get(value, ())]
    return " ".join([*lists, _format_results(a, b, needed)]), found


def _needed_values(target: int, x: int) -> Iterator[tuple[int, str]]:
    """Values from which one operation with ``x`` makes the target, each with that operation."""
    values = _results(max(x, target), min(x, target))
    yield values["+"], format_aim(values["+"], "-", x)
    if target >= x:
        yield values["-"], format_aim(values["-"], "+", x)
    else:
        yield values["-"], format_aim(x, "-", values["-"])
    if x:
        yield values["*"], format_aim(values["*"], "/", x)
    if "/" in values:
        if target >= x:
            yield values["/"], format_aim(values["/"], "*", x)
        else:
            yield values["/"], format_aim(x, "/", values["/"])


def _results(a: int, b: int) -> dict[str, int]:
    """Whole results of the operations on ``a`` and ``b``, where ``a >= b``."""
    found = {"+": a + b, "-": a - b, "*": a * b}
    return {**found, "/": a // b} if b and a % b == 0 else found


def _format_results(a: int, b: int, aims: Mapping[int, Sequence[str]]) -> str:
    """The list of two numbers' results, each followed by its aims if it has any."""
    texts = [", ".join([str(x), *aims.get(x, ())]) for x in _results(a, b).values()]
    shown = "".join(f"{x}, " if "," in x else f"{x} " for x in texts)
    return f"({b} {a}: {shown.rstrip(', ')})"
