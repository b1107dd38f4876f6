"""Arithmetic worked as chains of equations, several operations a sign of equality, right or flawed.

The hand is that of a large model asked for BIG-Bench Hard's ``multistep_arithmetic_two``::

    ((5 + 2 * 1 - 6) + (5 + 3 - -2 * 2)) =
    This equation can be written as "(A + B)", where A = (5 + 2 * 1 - 6) and B = (5 + 3 - -2 * 2).
    Let's calculate A = (5 + 2 * 1 - 6) = (5 + 2 - 6) = 1.
    Let's calculate B = (5 + 3 - -2 * 2) = (5 + 3 - (-4)) = (8 + 4) = 12.
    Then, the final equation is A + B = 1 + 12 = 13. So the answer is 13

Brackets are added and dropped, signs drawn together, and the work may jump straight to a number.
A line is right if all its expressions are equal; it is judged on its own, so that each line of a
chain can be flawed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from reason_decode.tasks.arithmetic import LETTERS, Expression, format_expression


class Chain(NamedTuple):
    """A line of equal expressions: what is written before, the values, which of them first differs.

    ``texts`` holds the line in pieces, one for each expression, the first with the line's opening;
    the line is ``" = ".join(texts)``. ``values`` are what the expressions really make, and
    ``right[k]`` says whether all up to the k-th are equal.
    """

    texts: tuple[str, ...]
    values: tuple[int, ...]
    right: tuple[bool, ...]

    def __str__(self) -> str:
        return " = ".join(self.texts)


class Problem(NamedTuple):
    """A prompt, the plan (a drill has none), and the chains that follow it."""

    prompt: str
    plan: str | None
    chains: tuple[Chain, ...]


def value_of(node: Expression) -> int:
    """The value of a tree; products before sums, ``[x]`` is a number in brackets."""
    if not isinstance(node, list):
        assert isinstance(node, int)
        return node
    total, sign, product = 0, 1, value_of(node[0])
    for op, right in zip(node[1::2], node[2::2], strict=True):
        if op == "*":
            product *= value_of(right)
        else:
            total, sign, product = total + sign * product, 1 if op == "+" else -1, value_of(right)
    return total + sign * product


def chain(
    rng: random.Random, opening: str, tree: Expression, flawed: bool, bare: bool | None = None
) -> Chain:
    """The line that starts from ``tree`` and goes on to a number, with one flaw or none.

    Args:
        rng: the only source of chance.
        opening: what stands before the first sign of equality.
        tree: the first expression.
        flawed: whether an expression differs from the one before it.
        bare: whether the expressions stand without outer brackets; by default seldom, and then from
            the second on.
    """
    while True:
        trees = [tree]
        flaw_at = rng.choice((1, 1, 1, 2, 2, 3)) if flawed else 0
        while not _done(rng, trees):
            before = trees[-1]
            after = _rewritten(rng, before, first=len(trees) == 1)
            if len(trees) == flaw_at:
                after = _spoiled(rng, before, after)
            trees.append(after)
        values = tuple(map(value_of, trees))
        if flawed == (len(set(values)) > 1):
            break
    later = rng.random() < 0.06 if bare is None else bare
    texts = [
        format_expression(node, outer=later if k else bool(bare)) for k, node in enumerate(trees)
    ]
    texts[0] = f"{opening} = {texts[0]}"
    right = tuple(len(set(values[: k + 1])) == 1 for k in range(len(values)))
    return Chain(tuple(texts), values, right)


def _done(rng: random.Random, trees: Sequence[Expression]) -> bool:
    last = trees[-1]
    if isinstance(last, list) and len(last) == 1:
        # "(22)." ends a line as often as "(22) = 22." does.
        return len(trees) > 1 and rng.random() < 0.7
    return not isinstance(last, list)


def _rewritten(rng: random.Random, tree: Expression, first: bool) -> Expression:
    """An equal tree that is one stroke further on."""
    assert isinstance(tree, list)
    if len(tree) == 1:
        return tree[0]
    left = (len(_flat(tree)) - 1) / 2
    ways: list[tuple[float, Callable[[], Expression]]] = [
        (3.0 if first else 0.3, lambda: _grouped(rng, tree)),
        (2.5 if first else 1.5, lambda: _plain_signs(rng, tree)),
        (3.5, lambda: _worked(rng, tree, 1)),
        (1.5, lambda: _worked(rng, tree, 2)),
        (0.5, lambda: _worked(rng, tree, 3)),
        (2.0 if any(isinstance(x, list) for x in tree) else 0.0, lambda: _inner_done(rng, tree)),
        (3.0 if left <= 2 else 0.6, lambda: _number(rng, value_of(tree), 0.2)),
        (0.5 if first else 0.0, lambda: tree),
    ]
    (way,) = rng.choices([way for _, way in ways], [weight for weight, _ in ways])
    after = way()
    return after if after != tree or first else _worked(rng, tree, 1)


def _number(rng: random.Random, value: int, bracketed: float = 0.5) -> Expression:
    """A result as written: in brackets now and then, negative ones more often."""
    return [value] if rng.random() < bracketed * (1.0 if value < 0 else 0.4) else value


def _flat(node: Expression) -> list[Expression]:
    """The numbers and signs of a tree, in order."""
    return [leaf for x in node for leaf in _flat(x)] if isinstance(node, list) else [node]


def _is_number(node: Expression) -> bool:
    return isinstance(node, int) or (isinstance(node, list) and len(node) == 1)


def _pairs(tree: list[Expression]) -> list[int]:
    """The places of the operators that may be worked out next without changing the value."""
    places: list[int] = []
    for k in range(1, len(tree), 2):
        if not (_is_number(tree[k - 1]) and _is_number(tree[k + 1])):
            continue
        before = tree[k - 2] if k > 1 else "+"
        after = tree[k + 2] if k + 2 < len(tree) else "+"
        if tree[k] == "*" or (before == "+" and after != "*"):
            places.append(k)
    return places


def _taken_together(tree: list[Expression]) -> list[int]:
    """The places of operators behind a minus: ``x - a - b`` is ``x - (a + b)``."""
    return [
        k
        for k in range(3, len(tree), 2)
        if tree[k - 2] == "-"
        and tree[k] != "*"
        and (k + 2 >= len(tree) or tree[k + 2] != "*")
        and _is_number(tree[k - 1])
        and _is_number(tree[k + 1])
    ]


def _inside(
    rng: random.Random, tree: list[Expression], change: Callable[[list[Expression]], Expression]
) -> list[Expression]:
    """The tree with one of its chains, itself or one inside, changed."""
    inner = [k for k, x in enumerate(tree) if isinstance(x, list) and len(x) > 1]
    if inner and (rng.random() < 0.7 or not _pairs(tree)):
        k = rng.choice(inner)
        node = tree[k]
        assert isinstance(node, list)
        deeper = any(isinstance(x, list) and len(x) > 1 for x in node)
        changed = _inside(rng, node, change) if deeper else change(node)
        return [*tree[:k], changed, *tree[k + 1 :]]
    changed = change(tree)
    return changed if isinstance(changed, list) else [changed]


def _grouped(rng: random.Random, tree: list[Expression]) -> Expression:
    """Brackets around an operation that comes first."""

    def group(one: list[Expression]) -> Expression:
        places = _pairs(one)
        if len(one) < 5 or not places:
            return one
        products = [k for k in places if one[k] == "*"]
        k = rng.choice(products or places)
        return [*one[: k - 1], one[k - 1 : k + 2], *one[k + 2 :]]

    return _inside(rng, tree, group)


def _worked(rng: random.Random, tree: list[Expression], count: int) -> Expression:
    """``count`` operations worked out, often of one chain."""

    def work(one: list[Expression]) -> Expression:
        places = _pairs(one)
        together = _taken_together(one)
        if together and rng.random() < 0.3:
            k = rng.choice(together)
            op = "+" if one[k] == "-" else "-"
            made = _number(rng, value_of([one[k - 1], op, one[k + 1]]))
            return [*one[: k - 1], made, *one[k + 2 :]]
        if not places:
            return one
        products = [k for k in places if one[k] == "*"]
        k = rng.choice(products) if products and rng.random() < 0.9 else places[0]
        made = _number(rng, value_of(one[k - 1 : k + 2]))
        after = [*one[: k - 1], made, *one[k + 2 :]]
        return after if len(after) > 1 else made

    for _ in range(count):
        if len(tree) > 1:
            tree = _inside(rng, tree, work)
    if rng.random() < 0.4:
        tree = _plain_signs(rng, tree)
    return tree if len(tree) > 1 else _number(rng, value_of(tree), 0.3)


def _inner_done(rng: random.Random, tree: list[Expression]) -> Expression:
    """All that stands in brackets worked out, at the lowest level."""

    def done(node: Expression) -> Expression:
        if not isinstance(node, list) or len(node) == 1:
            return node
        if any(isinstance(x, list) and len(x) > 1 for x in node):
            return [done(x) for x in node]
        return _number(rng, value_of(node))

    return [done(x) for x in tree]


def _plain_signs(rng: random.Random, tree: list[Expression]) -> list[Expression]:
    """``- -2`` as ``+ 2``, ``- (-20)`` as ``+ 20``, and often ``+ -2`` as ``- 2``."""
    sums = rng.random() < 0.5
    return _signs(tree, sums)


def _signs(tree: list[Expression], sums: bool) -> list[Expression]:
    after: list[Expression] = [
        _signs(x, sums) if isinstance(x, list) and len(x) > 1 else x for x in tree
    ]
    for k in range(2, len(after), 2):
        node = after[k]
        op, value = after[k - 1], node[0] if isinstance(node, list) else node
        if not _is_number(node) or not isinstance(value, int) or op == "*":
            continue
        if value < 0 and (op == "-" or sums):
            after[k - 1 : k + 1] = ["+" if op == "-" else "-", -value]
        elif value >= 0:
            after[k] = value
    return after


def _spoiled(rng: random.Random, before: Expression, after: Expression) -> Expression:
    """A tree of another value in place of ``after``, wrong in one of the ways that models are."""
    way = rng.random()
    if way < 0.12 and isinstance(before, list):
        return _rewritten(rng, _wrong_order(rng, before), first=False)
    if way < 0.22 and isinstance(before, list) and len(before) > 3:
        k = rng.randrange(0, len(before) - 2, 2)
        return _rewritten(rng, [*before[:k], *before[k + 2 :]], first=False)
    if way < 0.45 and isinstance(before, list):
        # The slip of a sign made on the way: work on from the tree that has it.
        spoiled = _slipped(rng, before, signs=True)
        assert isinstance(spoiled, list)
        return _rewritten(rng, spoiled, first=False)
    new = set(_flat(after)) - set(_flat(before))
    return _slipped(rng, after, signs=rng.random() < 0.25, among=new or None)


def _wrong_order(rng: random.Random, tree: list[Expression]) -> list[Expression]:
    """Brackets around operations that do not come first: sums before products, after a minus."""
    inner = [k for k, x in enumerate(tree) if isinstance(x, list) and len(x) > 1]
    if inner and rng.random() < 0.7:
        k = rng.choice(inner)
        node = tree[k]
        assert isinstance(node, list)
        return [*tree[:k], _wrong_order(rng, node), *tree[k + 1 :]]
    if len(tree) < 5:
        return tree
    k = rng.choice(range(1, len(tree), 2))
    size = 5 if k + 4 <= len(tree) and rng.random() < 0.3 else 3
    return [*tree[: k - 1], tree[k - 1 : k - 1 + size], *tree[k - 1 + size :]]


def _slipped(
    rng: random.Random, node: Expression, signs: bool, among: set[Expression] | None = None
) -> Expression:
    """The tree with one number or one sign changed; ``among`` are the numbers to choose from."""
    places = list(_places(node, signs, among))
    if not places:
        return node if signs or among is None else _slipped(rng, node, signs, None)
    path = rng.choice(places)
    return _changed(node, path, lambda leaf: _slip(rng, leaf, signs))


def _places(
    node: Expression, signs: bool, among: set[Expression] | None, path: tuple[int, ...] = ()
) -> Sequence[tuple[int, ...]]:
    if isinstance(node, list):
        found = [p for k, x in enumerate(node) for p in _places(x, signs, among, (*path, k))]
        return found
    if isinstance(node, str):
        return [path] if signs and node in "+-" else []
    if signs:
        return [path] if node else []
    return [path] if among is None or node in among else []


def _changed(
    node: Expression, path: tuple[int, ...], change: Callable[[Expression], Expression]
) -> Expression:
    if not path:
        return change(node)
    assert isinstance(node, list)
    k = path[0]
    return [*node[:k], _changed(node[k], path[1:], change), *node[k + 1 :]]


def _slip(rng: random.Random, leaf: Expression, signs: bool) -> Expression:
    if isinstance(leaf, str):
        return "-" if leaf == "+" else "+"
    assert isinstance(leaf, int)
    if signs:
        return -leaf
    way = rng.random()
    if way < 0.2 and leaf:
        return -leaf
    if way < 0.4 and abs(leaf) >= 10:
        digits = list(str(abs(leaf)))
        digits[rng.randrange(len(digits))] = str(rng.randrange(10))
        return int("".join(digits)) * (-1 if leaf < 0 else 1)
    if way < 0.5:
        return leaf + rng.choice((-1, 1)) * 10 * rng.choice((1, 1, 2, 10))
    return leaf + rng.choice((-1, 1)) * rng.choice((1, 1, 2, 2, 3, 4, 6, 8, rng.randint(2, 20)))


def _group(rng: random.Random, count: int) -> list[Expression]:
    words: list[Expression] = [rng.randint(-9, 9)]
    for _ in range(count - 1):
        words += [rng.choice("+-*"), rng.randint(-9, 9)]
    return words


def _lettered(rng: random.Random) -> tuple[Expression, Expression, list[list[Expression]]]:
    """A problem: the whole, the plan in letters, and what each letter stands for."""
    kind = rng.random()
    count = rng.choice((4, 4, 4, 3, 2))

    def pair(a: Expression, b: Expression) -> list[Expression]:
        return [a, rng.choice("+-*"), b]

    if kind < 0.6:
        parts = [_group(rng, rng.choice((4, 4, 3))) for _ in range(2)]
        whole = pair(*parts)
        return whole, ["A", whole[1], "B"], parts
    groups = [_group(rng, count) for _ in range(4)]
    left, right = pair(groups[0], groups[1]), pair(groups[2], groups[3])
    whole = pair(left, right)
    if kind < 0.85:
        plan: Expression = [["A", left[1], "B"], whole[1], ["C", right[1], "D"]]
        return whole, plan, groups
    if kind < 0.95:
        return whole, ["A", whole[1], "B"], [left, right]
    return whole, ["A", left[1], "B", whole[1], "C"], [groups[0], groups[1], right]


def problem(rng: random.Random, flawed: float) -> Problem:
    """A problem worked in chains, each line flawed with the given probability."""
    whole, plan, parts = _lettered(rng)
    letters = LETTERS[: len(parts)]
    written = format_expression(plan, outer=len(parts) > 2 or rng.random() < 0.5)
    named = [
        f"{k} = {format_expression(part, outer=False)}"
        for k, part in zip(letters, parts, strict=True)
    ]
    chains: list[Chain] = []
    values: dict[str, Expression] = {}
    for letter, part in zip(letters, parts, strict=True):
        made = chain(rng, f"Let's calculate {letter}", part, rng.random() < flawed)
        values[letter] = _as_written(made.texts[-1])
        chains.append(_ended(made, "."))
    chains.append(_final(rng, plan, written, values, flawed))
    opening = f'This equation can be written as "{written}", where {_listed(rng, named)}.'
    return Problem(f"{format_expression(whole, outer=False)} =\n", opening, tuple(chains))


def drill(rng: random.Random, flawed: float) -> Problem:
    """One chain by itself, of a parenthesis or of numbers as a last line holds them."""
    last = rng.random() < 0.25
    _, plan, parts = _lettered(rng)
    if last:
        values = {k: value_of(part) for k, part in zip(LETTERS, parts, strict=False)}
        made = _final(rng, plan, format_expression(plan), values, flawed, copied=True)
        return Problem(f"{made.texts[0].partition(' = ')[2]} =\n", None, (made,))
    part = rng.choice(parts)
    made = chain(rng, f"Let's calculate {rng.choice(LETTERS[:4])}", part, rng.random() < flawed)
    return Problem(f"{format_expression(part, outer=False)} =\n", None, (_ended(made, "."),))


def _ended(made: Chain, end: str) -> Chain:
    return made._replace(texts=(*made.texts[:-1], made.texts[-1] + end))


def _listed(rng: random.Random, names: Sequence[str]) -> str:
    if len(names) < 3 or rng.random() < 0.5:
        return " and ".join(names)
    return ", ".join(names[:-1]) + f", and {names[-1]}"


def _as_written(text: str) -> int:
    return int(text.strip("()"))


def _filled(
    rng: random.Random, node: Expression, values: Mapping[str, Expression], bracketed: float
) -> Expression:
    if isinstance(node, list):
        return [_filled(rng, x, values, bracketed) for x in node]
    value = values.get(node, node) if isinstance(node, str) else node
    return [value] if isinstance(value, int) and value < 0 and rng.random() < bracketed else value


def _final(
    rng: random.Random,
    plan: Expression,
    written: str,
    values: Mapping[str, Expression],
    flawed: float,
    copied: bool = False,
) -> Chain:
    """The last line: the plan with its numbers, worked out, and the answer."""
    start = _filled(rng, plan, values, rng.choice((0.0, 0.5, 1.0)))
    wrong = rng.random() < flawed
    miscopied = wrong and not copied and rng.random() < 0.1
    if miscopied:
        start = _slipped(rng, start, signs=False)
    bare = written == format_expression(plan)
    made = chain(
        rng, f"Then, the final equation is {written}", start, wrong and not miscopied, bare
    )
    if miscopied:
        made = made._replace(right=(False,) * len(made.right))
    return _ended(made, f". So the answer is {_as_written(made.texts[-1])}")
