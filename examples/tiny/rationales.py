"""Documents of our own generators whose plans are left unsaid, and rationales that may say them.

A solution shows what is done and not what for. Before each step a rationale is put: a right one,
or, with a given probability, one that distracts. Which is which is known, so that a threshold can
be calibrated on it; the filter and the training are not told::

    Make 36 from 4 5 6 10.
    <BOT>(4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) [...] (5 6: 11 1 30, 30 + 6); [...].
    36 = 30 + 6, 40 - 4.<EOT>10 - 4 = 6 (left: 5 6 6)
    <BOT>(6 36: 42 30 216 6) (5 6: 11 1 30, 30 + 6); [...]. 36 = 30 + 6.<EOT>5 * 6 = 30 (left: 6 30)
    <BOT>(6 30: 36 24 180 5). 36 = 30 + 6.<EOT>30 + 6 = 36 (left: 36)
    <BOT>30 is 5 * 6, 6 is 10 - 4.<EOT>Answer: 5 * 6 + (10 - 4) = 36

What can be aimed at is named in any order, the solution's own among it: a model that is asked for
one rationale then begins with the aim that it is surest of. It is searched for in the rationale
itself (``aims.py``), so that it need not be known by heart. Where no search is written a number on
the way may be named as an aim, too. As everywhere here, no problem has the target 24.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

from examples.tiny import arithmetic_problems, countdown_problems, countdown_work
from examples.tiny.aims import last, searched, ways
from examples.tiny.countdown_work import Work
from reason_decode.mining import AnnotatedDocument
from reason_decode.tasks import arithmetic, countdown
from reason_decode.tasks.countdown import STEP_PATTERN, Number, State

__all__ = ["Drawn", "arithmetic_document", "countdown_document", "draw", "draw_whole"]

COUNTDOWN, ARITHMETIC = "countdown", "arithmetic"
# Every sixth document is arithmetic: its lines follow from the problem, with little to be planned.
_ARITHMETIC_EVERY = 6
_GAMES = 0.6
# Documents of the same numbers and other targets: what can be made of them is found once.
_DEALT = 96
_MOST = 100
# So many aims a rationale names at most, and how often it names one number on the way instead.
_AIMS = 3
_ON_THE_WAY = 0.3
# So many solutions are drawn at most to meet one that ends in an aim that is searched for.
_TRIES = 6
# Of an arithmetic document, how many lines at its end have rationales.
_LINES = 3
# Two numbers as text around their sign, and what they make.
Operation = tuple[str, str, str, str]


class Drawn(NamedTuple):
    """A document with candidate rationales, and which of them are right."""

    document: AnnotatedDocument
    right: tuple[bool, ...]


def draw(seed: int | str, count: int, wrong: float = 0.3, start: int = 0) -> Iterator[Drawn]:
    """Documents of both kinds.

    Args:
        seed: of everything; document k depends on it and on k alone.
        count: how many.
        wrong: the probability that a rationale is one that distracts.
        start: the number of the first document.
    """
    for k in range(start, start + count):
        rng = random.Random(f"rationales/{seed}/{k}")
        if k % _ARITHMETIC_EVERY == 0:
            yield arithmetic_document(rng, str(k), wrong)
        else:
            yield countdown_document(rng, str(k), wrong, _numbers(seed, k // _DEALT))


def draw_whole(seed: int | str, count: int, start: int = 0) -> Iterator[AnnotatedDocument]:
    """Solutions to their end, with right rationales before all of their steps; every other a sum.

    Args:
        seed: of everything, as for ``draw``.
        count: how many.
        start: the number of the first document.
    """
    for k in range(start, start + count):
        rng = random.Random(f"rationales/{seed}/{k}")
        if k % 2 == 0:
            yield arithmetic_document(rng, str(k), 0.0, whole=True).document
        else:
            yield countdown_document(rng, str(k), 0.0, _numbers(seed, k // _DEALT)).document


def countdown_document(
    rng: random.Random, id: str, wrong: float, numbers: tuple[int, ...]
) -> Drawn:
    """A countdown solution with aims before each operation, and what is what before the answer.

    An aim is a last operation: what the two numbers will be that make the target.
    """
    target = _target(rng, numbers)
    work, operations = _solution(rng, numbers, target)
    states: list[State] = [tuple(sorted(numbers))]
    rationales: list[str] = []
    right: list[bool] = []
    for k, line in enumerate(work.steps):
        distracts = rng.random() < wrong
        if k < len(operations):
            rationales.append(_aim(rng, states[-1], target, operations[k:], distracts))
            after = countdown.apply_step(states[-1], line)
            assert after is not None
            states.append(after)
        else:
            distracts = distracts and len(operations) > 1
            rationales.append(_other_parts(rng, operations) if distracts else _parts(operations))
        right.append(not distracts)
    texts = (work.prompt, *(f"{line}\n" for line in work.steps))
    return Drawn(AnnotatedDocument(id, COUNTDOWN, texts, tuple(rationales)), tuple(right))


@lru_cache(1)
def _games() -> tuple[tuple[int, ...], ...]:
    """Every four numbers 1-13, shuffled."""
    found = [x for x in combinations_with_replacement(range(1, 14), 4)]
    random.Random("rationales/games").shuffle(found)
    return tuple(found)


def _numbers(seed: int | str, deal: int) -> tuple[int, ...]:
    """Numbers from which some target can be made: six times in ten the next game's, or others."""
    turn, place = divmod(deal, 10)
    if place < 10 * _GAMES:
        numbers = _games()[(int(10 * _GAMES) * turn + place) % len(_games())]
        if countdown_problems.targets(numbers, _MOST):
            return numbers
    rng = random.Random(f"rationales/{seed}/numbers/{deal}")
    while True:
        numbers, _ = countdown_problems.varied(rng)
        if countdown_problems.targets(numbers, _MOST):
            return numbers


def _target(rng: random.Random, numbers: tuple[int, ...]) -> int:
    return rng.choice(countdown_problems.targets(numbers, _MOST))


def _solution(
    rng: random.Random, numbers: tuple[int, ...], target: int
) -> tuple[Work, list[Operation]]:
    """A solution and its operations; if some tries meet one, one that a search for aims finds."""
    search = searched(tuple(sorted(numbers)), target)
    tries = 0
    while True:
        work = countdown_work.write(rng, numbers, target)
        matches = [STEP_PATTERN.fullmatch(line) for line in work.steps]
        operations = [(m[1], m[2], m[3], m[4]) for m in matches if m]
        tries += 1
        if tries == _TRIES or not search or not search[1] or _own(operations) in search[1]:
            return work, operations


def _own(operations: Sequence[Operation]) -> str:
    """The last operation, as an aim."""
    a, op, b, _ = operations[-1]
    pair = countdown.parse_numbers([a, b])
    assert pair is not None
    return last(pair[0], op, pair[1])


def _aim(
    rng: random.Random,
    state: State,
    target: int,
    operations: Sequence[Operation],
    distracts: bool,
) -> str:
    """What to aim at, of a state that a solution takes to its target by these operations."""
    own = _own(operations)
    search = searched(state, target)
    # Four numbers may have no aim that their search finds; then it is known by heart, if at all.
    if search and (own in search[1] or (len(state) == 4 and not search[1])):
        named, told = search[1], f"{search[0]}. "
        if distracts:
            told = _other_search(rng, state, target)
    elif len(operations) > 1 and rng.random() < _ON_THE_WAY:
        a, op, b, value = rng.choice(operations[:-1])
        if distracts:
            own = _other_aim(rng, state, target)
            a, op, b, value = _other_step(rng)
        return f"{value} = {a} {op} {b}, {target} = {own}."
    else:
        named, told = ways(state).get(target, (own,)), ""
    others = [x for x in named if x != own]
    named = [own, *rng.sample(others, min(len(others), _AIMS - 1))]
    if distracts:
        named = [_other_aim(rng, state, target) for _ in named]
    rng.shuffle(named)
    return f"{told}{target} = {', '.join(named)}."


def _other_search(rng: random.Random, state: State, target: int) -> str:
    """The search of numbers of which one is not there."""
    changed = list(state)
    changed[rng.randrange(len(changed))] = rng.choice([x for x in range(1, 31) if x not in state])
    search = searched(tuple(sorted(changed)), target)
    assert search is not None
    return f"{search[0]}. "


def _other_aim(rng: random.Random, state: State, target: int) -> str:
    """Two numbers that cannot be had, or do not make the target."""
    while True:
        op = rng.choice("+-*/")
        a: Number = rng.choice([*state, rng.randint(1, 30)])
        if rng.random() < 0.5:
            # They would make the target.
            wanted = {
                "+": target - a,
                "-": a - target,
                "*": countdown.calculate(target, "/", a or 1),
            }
            b = wanted.get(op, rng.randint(1, 13))
        else:
            b = rng.choice([*state, rng.randint(1, 30)])
        if op == "/" and b == 0:
            continue
        told = last(a, op, b)
        if told not in ways(state).get(target, ()):
            return told


def _other_step(rng: random.Random) -> Operation:
    """An operation from nowhere."""
    a, b, op = rng.randint(1, 13), rng.randint(1, 13), rng.choice("+-*/")
    return str(a), op, str(b), str(countdown.calculate(a, op, b))


def _parts(operations: Sequence[Operation]) -> str:
    """What the numbers of the last operations were made of."""
    said = [f"{value} is {a} {op} {b}" for a, op, b, value in reversed(operations[:-1])]
    return f"{', '.join(said)}." if said else "It is made."


def _other_parts(rng: random.Random, operations: Sequence[Operation]) -> str:
    """The same with a number or a sign that was not there."""
    spoiled = list(operations)
    k = rng.randrange(len(operations) - 1)
    a, op, b, value = spoiled[k]
    if rng.random() < 0.5:
        op = rng.choice([x for x in "+-*/" if x != op])
    else:
        b = str(rng.choice([x for x in range(1, 14) if str(x) != b]))
    spoiled[k] = (a, op, b, value)
    return _parts(spoiled)


def arithmetic_document(rng: random.Random, id: str, wrong: float, whole: bool = False) -> Drawn:
    """The beginning of a worked sum, with rationales before its last lines; or before all lines."""
    brief = rng.random() < 0.3
    expression = arithmetic_problems.short(rng) if brief else arithmetic_problems.multi_step(rng)
    lines = arithmetic.solve(expression)
    stop = len(lines) if whole else rng.randint(1, len(lines))
    start = 0 if whole else max(0, stop - _LINES)
    rationales: list[str] = []
    right: list[bool] = []
    for line in lines[start:stop]:
        said = _reason(line)
        other = _other_reason(rng, said)
        right.append(rng.random() >= wrong)
        rationales.append(said if right[-1] else other)
    shown = "".join(f"{line}\n" for line in lines[:start])
    texts = (arithmetic.format_prompt(expression) + shown, *(f"{x}\n" for x in lines[start:stop]))
    return Drawn(AnnotatedDocument(id, ARITHMETIC, texts, tuple(rationales)), tuple(right))


_KINDS = ("We need", "is", "Now", "So the answer")
_PLANS = {
    "We need": "Name the parts.",
    "is": "The next part.",
    "Now": "All parts are known.",
    "So the answer": "One number is left.",
}


def _reason(line: arithmetic.Line) -> str:
    """What a line does, and why it is next."""
    if line.operation:
        if line.value is None:
            return f"Split {line.operation}."
        why = "products first" if " * " in line.operation else "from the left"
        return f"{line.operation} = {line.value}, {why}."
    return next((_PLANS[kind] for kind in _KINDS if line.subject.startswith(kind)), _PLANS["is"])


def _other_reason(rng: random.Random, said: str) -> str:
    """Something else that a line might do."""
    operation = f"{rng.randint(-99, 99)} {rng.choice('+-*')} {rng.randint(-99, 99)}"
    why = "products first" if " * " in operation else "from the left"
    others = [
        f"{operation} = {rng.randint(-99, 99)}, {why}.",
        f"Split {operation}.",
        *_PLANS.values(),
    ]
    return rng.choice([x for x in others if x != said])
