"""Documents of our own generators with candidate rationales: plans of the next step.

A solution shows each step and not its purpose. Before each step the document has a rationale: a
right one or, with a given probability, a distracting one. The labels are known, so that a threshold
can be calibrated on them; the filter and the training do not use them::

    Make 36 from 4 5 6 10.
    <BOT>(4 10: 14 6 40) (14 36: 50 22 504) (6 36: 42 30 216 6) [...] (5 6: 11 1 30, 30 + 6); [...].
    36 = 30 + 6, 40 - 4.<EOT>10 - 4 = 6 (left: 5 6 6)
    <BOT>(6 36: 42 30 216 6) (5 6: 11 1 30, 30 + 6); [...]. 36 = 30 + 6.<EOT>5 * 6 = 30 (left: 6 30)
    <BOT>(6 30: 36 24 180 5). 36 = 30 + 6.<EOT>30 + 6 = 36 (left: 36)
    <BOT>30 is 5 * 6, 6 is 10 - 4.<EOT>Answer: 5 * 6 + (10 - 4) = 36

A rationale names up to three aims in random order, among them the solution's own: a model that is
asked for one rationale then begins with the aim that it finds likeliest. The rationale first
searches for them (``aims.py``), so that the model need not know them by heart. If no search is
written, the rationale may name an intermediate result instead. No problem has the target 24.
"""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

from examples.tiny import arithmetic_problems, countdown_problems, countdown_solutions
from examples.tiny.aims import format_aim, last_operations, search_aims
from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode.mining import AnnotatedDocument
from reason_decode.tasks import arithmetic, countdown
from reason_decode.tasks.countdown import STEP_PATTERN, Number, State

__all__ = ["LabelledDocument", "arithmetic_document", "countdown_document", "draw", "draw_whole"]

COUNTDOWN, ARITHMETIC = "countdown", "arithmetic"
# Every sixth document is arithmetic: its lines follow from the problem, so there is little to plan.
_ARITHMETIC_EVERY = 6
# Share of deals whose numbers are four numbers 1-13, as in the Game of 24.
_GAMES = 0.6
# So many documents have the same numbers and other targets, so that reach is computed once.
_DOCUMENTS_PER_DEAL = 96
_LARGEST_TARGET = 100
# The most aims that a rationale names, and how often it names an intermediate result instead.
_MAX_AIMS = 3
_INTERMEDIATE = 0.3
# Solutions drawn at most to find one that ends in an aim of the search.
_TRIES = 6
# The last so many lines of an arithmetic document have rationales.
_LINES = 3
Operation = tuple[str, str, str, str]
"""Left operand, operator, right operand and result, as text."""


class LabelledDocument(NamedTuple):
    """A document with candidate rationales, and whether each of them is right."""

    document: AnnotatedDocument
    right: tuple[bool, ...]


def draw(
    seed: int | str, count: int, wrong: float = 0.3, start: int = 0
) -> Iterator[LabelledDocument]:
    """Labelled documents, one in six of arithmetic.

    Args:
        seed: seed of all documents; document k depends on it and on k only.
        count: number of documents.
        wrong: the probability that a rationale is a distracting one.
        start: the number of the first document.
    """
    for k in range(start, start + count):
        rng = random.Random(f"rationales/{seed}/{k}")
        if k % _ARITHMETIC_EVERY == 0:
            yield arithmetic_document(rng, str(k), wrong)
        else:
            yield countdown_document(rng, str(k), wrong, _numbers(seed, k // _DOCUMENTS_PER_DEAL))


def draw_whole(seed: int | str, count: int, start: int = 0) -> Iterator[AnnotatedDocument]:
    """Whole solutions with a right rationale before each step; every other one is arithmetic.

    Args:
        seed: seed of all documents; document k depends on it and on k only.
        count: number of documents.
        start: the number of the first document.
    """
    for k in range(start, start + count):
        rng = random.Random(f"rationales/{seed}/{k}")
        if k % 2 == 0:
            yield arithmetic_document(rng, str(k), 0.0, whole=True).document
        else:
            yield countdown_document(
                rng, str(k), 0.0, _numbers(seed, k // _DOCUMENTS_PER_DEAL)
            ).document


def countdown_document(
    rng: random.Random, id: str, wrong: float, numbers: tuple[int, ...]
) -> LabelledDocument:
    """A countdown solution with aims before each operation, and the parts before the answer.

    Args:
        rng: source of all randomness.
        id: the document's id.
        wrong: the probability that a rationale is a distracting one.
        numbers: numbers from which some target can be reached.
    """
    target = rng.choice(countdown_problems.targets(numbers, _LARGEST_TARGET))
    solution, operations = _solution(rng, numbers, target)
    states: list[State] = [tuple(sorted(numbers))]
    rationales: list[str] = []
    right: list[bool] = []
    for k, line in enumerate(solution.steps):
        distracts = rng.random() < wrong
        if k < len(operations):
            rationales.append(_aims(rng, states[-1], target, operations[k:], distracts))
            after = countdown.apply_step(states[-1], line)
            assert after is not None
            states.append(after)
        else:
            distracts = distracts and len(operations) > 1
            parts = _wrong_parts(rng, operations) if distracts else _parts(operations)
            rationales.append(parts)
        right.append(not distracts)
    texts = (solution.prompt, *(f"{line}\n" for line in solution.steps))
    return LabelledDocument(
        AnnotatedDocument(id, COUNTDOWN, texts, tuple(rationales)), tuple(right)
    )


@lru_cache(1)
def _games() -> tuple[tuple[int, ...], ...]:
    """All sets of four numbers 1-13, shuffled."""
    found = [x for x in combinations_with_replacement(range(1, 14), 4)]
    random.Random("rationales/games").shuffle(found)
    return tuple(found)


def _numbers(seed: int | str, deal: int) -> tuple[int, ...]:
    """The numbers of a deal: six times in ten those of the next game, else random ones."""
    turn, place = divmod(deal, 10)
    if place < 10 * _GAMES:
        numbers = _games()[(int(10 * _GAMES) * turn + place) % len(_games())]
        if countdown_problems.targets(numbers, _LARGEST_TARGET):
            return numbers
    rng = random.Random(f"rationales/{seed}/numbers/{deal}")
    while True:
        numbers, _ = countdown_problems.varied(rng)
        if countdown_problems.targets(numbers, _LARGEST_TARGET):
            return numbers


def _solution(
    rng: random.Random, numbers: tuple[int, ...], target: int
) -> tuple[WorkedSolution, list[Operation]]:
    """A random solution and its operations; of six tries the first whose aim the search finds."""
    search = search_aims(tuple(sorted(numbers)), target)
    tries = 0
    while True:
        solution = countdown_solutions.write(rng, numbers, target)
        matches = [STEP_PATTERN.fullmatch(line) for line in solution.steps]
        operations = [(m[1], m[2], m[3], m[4]) for m in matches if m]
        tries += 1
        if tries == _TRIES or not search or not search[1] or _own_aim(operations) in search[1]:
            return solution, operations


def _own_aim(operations: Sequence[Operation]) -> str:
    """The aim of a solution: its last operation."""
    a, op, b, _ = operations[-1]
    pair = countdown.parse_numbers([a, b])
    assert pair is not None
    return format_aim(pair[0], op, pair[1])


def _aims(
    rng: random.Random,
    state: State,
    target: int,
    operations: Sequence[Operation],
    distracts: bool,
) -> str:
    """A rationale that names aims of a state.

    Args:
        rng: source of all randomness.
        state: the numbers that are left.
        target: the number to reach.
        operations: the rest of the solution.
        distracts: whether the rationale is a wrong one.
    """
    own = _own_aim(operations)
    search = search_aims(state, target)
    # A search from four numbers may find no aim; the model then has to know one by heart.
    if search and (own in search[1] or (len(state) == 4 and not search[1])):
        named, prefix = search[1], f"{search[0]}. "
        if distracts:
            prefix = _wrong_search(rng, state, target)
    elif len(operations) > 1 and rng.random() < _INTERMEDIATE:
        a, op, b, value = rng.choice(operations[:-1])
        if distracts:
            own = _wrong_aim(rng, state, target)
            a, op, b, value = _random_operation(rng)
        return f"{value} = {a} {op} {b}, {target} = {own}."
    else:
        named, prefix = last_operations(state).get(target, (own,)), ""
    others = [x for x in named if x != own]
    named = [own, *rng.sample(others, min(len(others), _MAX_AIMS - 1))]
    if distracts:
        named = [_wrong_aim(rng, state, target) for _ in named]
    rng.shuffle(named)
    return f"{prefix}{target} = {', '.join(named)}."


def _wrong_search(rng: random.Random, state: State, target: int) -> str:
    """A search from numbers of which one is not in the state."""
    changed = list(state)
    changed[rng.randrange(len(changed))] = rng.choice([x for x in range(1, 31) if x not in state])
    search = search_aims(tuple(sorted(changed)), target)
    assert search is not None
    return f"{search[0]}. "


def _wrong_aim(rng: random.Random, state: State, target: int) -> str:
    """An operation on numbers that cannot be made, or that does not give the target."""
    while True:
        op = rng.choice("+-*/")
        a: Number = rng.choice([*state, rng.randint(1, 30)])
        if rng.random() < 0.5:
            # The operation gives the target, but its numbers cannot be made.
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
        aim = format_aim(a, op, b)
        if aim not in last_operations(state).get(target, ()):
            return aim


def _random_operation(rng: random.Random) -> Operation:
    """A right operation on two random numbers 1-13."""
    a, b, op = rng.randint(1, 13), rng.randint(1, 13), rng.choice("+-*/")
    return str(a), op, str(b), str(countdown.calculate(a, op, b))


def _parts(operations: Sequence[Operation]) -> str:
    """A rationale that states the operation of each intermediate result."""
    parts = [f"{value} is {a} {op} {b}" for a, op, b, value in reversed(operations[:-1])]
    return f"{', '.join(parts)}." if parts else "It is made."


def _wrong_parts(rng: random.Random, operations: Sequence[Operation]) -> str:
    """A rationale that states one operation with a wrong number or a wrong operator."""
    changed = list(operations)
    k = rng.randrange(len(operations) - 1)
    a, op, b, value = changed[k]
    if rng.random() < 0.5:
        op = rng.choice([x for x in "+-*/" if x != op])
    else:
        b = str(rng.choice([x for x in range(1, 14) if str(x) != b]))
    changed[k] = (a, op, b, value)
    return _parts(changed)


def arithmetic_document(
    rng: random.Random, id: str, wrong: float, whole: bool = False
) -> LabelledDocument:
    """The beginning of a worked sum, with rationales before its last lines.

    Args:
        rng: source of all randomness.
        id: the document's id.
        wrong: the probability that a rationale is a distracting one.
        whole: whether the document is a whole solution with a rationale before each line.
    """
    brief = rng.random() < 0.3
    expression = arithmetic_problems.short(rng) if brief else arithmetic_problems.multi_step(rng)
    lines = arithmetic.solve(expression)
    stop = len(lines) if whole else rng.randint(1, len(lines))
    start = 0 if whole else max(0, stop - _LINES)
    rationales: list[str] = []
    right: list[bool] = []
    for line in lines[start:stop]:
        reason = _reason(line)
        wrong_reason = _wrong_reason(rng, reason)
        right.append(rng.random() >= wrong)
        rationales.append(reason if right[-1] else wrong_reason)
    shown = "".join(f"{line}\n" for line in lines[:start])
    texts = (arithmetic.format_prompt(expression) + shown, *(f"{x}\n" for x in lines[start:stop]))
    return LabelledDocument(
        AnnotatedDocument(id, ARITHMETIC, texts, tuple(rationales)), tuple(right)
    )


# The plan of a line that computes nothing, by the beginning of its subject.
_PLANS = {
    "We need": "Name the parts.",
    "is": "The next part.",
    "Now": "All parts are known.",
    "So the answer": "One number is left.",
}


def _reason(line: arithmetic.Line) -> str:
    """A rationale that states what a line does and why it is next."""
    if line.operation:
        if line.value is None:
            return f"Split {line.operation}."
        why = "products first" if " * " in line.operation else "from the left"
        return f"{line.operation} = {line.value}, {why}."
    plans = (plan for subject, plan in _PLANS.items() if line.subject.startswith(subject))
    return next(plans, _PLANS["is"])


def _wrong_reason(rng: random.Random, reason: str) -> str:
    """A rationale of something else that a line could do."""
    operation = f"{rng.randint(-99, 99)} {rng.choice('+-*')} {rng.randint(-99, 99)}"
    why = "products first" if " * " in operation else "from the left"
    others = [
        f"{operation} = {rng.randint(-99, 99)}, {why}.",
        f"Split {operation}.",
        *_PLANS.values(),
    ]
    return rng.choice([x for x in others if x != reason])
