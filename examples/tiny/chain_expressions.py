"""Expressions of a chain of equations: equal rewritings, and rewritings with a mistake.

A tree is an ``arithmetic.Expression`` in which ``[x]`` is a number in brackets.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

from reason_decode.tasks.arithmetic import Expression

__all__ = ["change_one", "compute", "is_computed", "rewrite", "rewrite_wrongly", "value_of"]

Terms = list[Expression]
"""Operands and operators in turn."""

# How often each of these is done where it can be.
_ENDS_AT_BRACKETED_NUMBER = 0.7
_GOES_INSIDE = 0.7
_SUBTRACTS_TOGETHER = 0.3
_PRODUCT_FIRST = 0.9
_SIMPLIFIES_SIGNS = 0.4
_FIVE_TERMS_IN_BRACKETS = 0.3


def value_of(tree: Expression) -> int:
    """The value of a tree without letters; products come before sums."""
    if not isinstance(tree, list):
        assert isinstance(tree, int)
        return tree
    total, sign, product = 0, 1, value_of(tree[0])
    for op, right in zip(tree[1::2], tree[2::2], strict=True):
        if op == "*":
            product *= value_of(right)
        else:
            total, sign, product = total + sign * product, 1 if op == "+" else -1, value_of(right)
    return total + sign * product


def is_computed(rng: random.Random, trees: Sequence[Expression]) -> bool:
    """True if a chain may end with its last tree: a number, or often a number in brackets."""
    last = trees[-1]
    if isinstance(last, list) and len(last) == 1:
        return len(trees) > 1 and rng.random() < _ENDS_AT_BRACKETED_NUMBER
    return not isinstance(last, list)


def rewrite(rng: random.Random, tree: Expression, first: bool) -> Expression:
    """A tree of equal value that is one step nearer to a number.

    Args:
        rng: source of all randomness.
        tree: a chain, or a number in brackets.
        first: whether the tree is the first of its line; it may then be repeated unchanged.
    """
    assert isinstance(tree, list)
    if len(tree) == 1:
        return tree[0]
    operations = (len(_leaves(tree)) - 1) / 2
    has_brackets = any(isinstance(x, list) for x in tree)
    ways: list[tuple[float, Callable[[], Expression]]] = [
        (3.0 if first else 0.3, lambda: _add_brackets(rng, tree)),
        (2.5 if first else 1.5, lambda: _simplify_signs(rng, tree)),
        (3.5, lambda: compute(rng, tree, 1)),
        (1.5, lambda: compute(rng, tree, 2)),
        (0.5, lambda: compute(rng, tree, 3)),
        (2.0 if has_brackets else 0.0, lambda: _compute_innermost(rng, tree)),
        (3.0 if operations <= 2 else 0.6, lambda: _result(rng, value_of(tree), 0.2)),
        (0.5 if first else 0.0, lambda: tree),
    ]
    (way,) = rng.choices([way for _, way in ways], [weight for weight, _ in ways])
    after = way()
    return after if after != tree or first else compute(rng, tree, 1)


def compute(rng: random.Random, tree: Terms, count: int) -> Expression:
    """The tree after so many operations, with signs simplified now and then."""
    for _ in range(count):
        if len(tree) > 1:
            tree = _change_chain(rng, tree, partial(_compute_one, rng))
    if rng.random() < _SIMPLIFIES_SIGNS:
        tree = _simplify_signs(rng, tree)
    return tree if len(tree) > 1 else _result(rng, value_of(tree), 0.3)


def _compute_one(rng: random.Random, chain: Terms) -> Expression:
    """The chain after one operation; the chain itself if none can be done."""
    places = _next_operators(chain)
    subtracted = _operators_after_minus(chain)
    if subtracted and rng.random() < _SUBTRACTS_TOGETHER:
        k = rng.choice(subtracted)
        op = "+" if chain[k] == "-" else "-"
        result = _result(rng, value_of([chain[k - 1], op, chain[k + 1]]))
        return [*chain[: k - 1], result, *chain[k + 2 :]]
    if not places:
        return chain
    products = [k for k in places if chain[k] == "*"]
    k = rng.choice(products) if products and rng.random() < _PRODUCT_FIRST else places[0]
    result = _result(rng, value_of(chain[k - 1 : k + 2]))
    after = [*chain[: k - 1], result, *chain[k + 2 :]]
    return after if len(after) > 1 else result


def _result(rng: random.Random, value: int, in_brackets: float = 0.5) -> Expression:
    """A value, sometimes in brackets; positive ones 0.4 times as often as negative ones."""
    return [value] if rng.random() < in_brackets * (1.0 if value < 0 else 0.4) else value


def _leaves(tree: Expression) -> Terms:
    """The numbers and operators of a tree, in order."""
    return [leaf for x in tree for leaf in _leaves(x)] if isinstance(tree, list) else [tree]


def _is_number(tree: Expression) -> bool:
    return isinstance(tree, int) or (isinstance(tree, list) and len(tree) == 1)


def _is_chain(tree: Expression) -> bool:
    return isinstance(tree, list) and len(tree) > 1


def _next_operators(chain: Terms) -> list[int]:
    """Indices of the operators that can be computed next without changing the value."""
    places: list[int] = []
    for k in range(1, len(chain), 2):
        if not (_is_number(chain[k - 1]) and _is_number(chain[k + 1])):
            continue
        before = chain[k - 2] if k > 1 else "+"
        after = chain[k + 2] if k + 2 < len(chain) else "+"
        if chain[k] == "*" or (before == "+" and after != "*"):
            places.append(k)
    return places


def _operators_after_minus(chain: Terms) -> list[int]:
    """Indices of operators between two subtracted terms: ``x - a - b`` is ``x - (a + b)``."""
    return [
        k
        for k in range(3, len(chain), 2)
        if chain[k - 2] == "-"
        and chain[k] != "*"
        and (k + 2 >= len(chain) or chain[k + 2] != "*")
        and _is_number(chain[k - 1])
        and _is_number(chain[k + 1])
    ]


def _change_chain(rng: random.Random, tree: Terms, change: Callable[[Terms], Expression]) -> Terms:
    """The tree with one of its chains changed: itself, or one inside it."""
    inner = [k for k, x in enumerate(tree) if _is_chain(x)]
    if inner and (rng.random() < _GOES_INSIDE or not _next_operators(tree)):
        k = rng.choice(inner)
        node = tree[k]
        assert isinstance(node, list)
        deeper = any(_is_chain(x) for x in node)
        changed = _change_chain(rng, node, change) if deeper else change(node)
        return [*tree[:k], changed, *tree[k + 1 :]]
    changed = change(tree)
    return changed if isinstance(changed, list) else [changed]


def _add_brackets(rng: random.Random, tree: Terms) -> Expression:
    """The tree with brackets around an operation that can be computed next."""
    return _change_chain(rng, tree, partial(_bracket_one, rng))


def _bracket_one(rng: random.Random, chain: Terms) -> Expression:
    places = _next_operators(chain)
    if len(chain) < 5 or not places:
        return chain
    products = [k for k in places if chain[k] == "*"]
    k = rng.choice(products or places)
    return [*chain[: k - 1], chain[k - 1 : k + 2], *chain[k + 2 :]]


def _compute_innermost(rng: random.Random, tree: Terms) -> Expression:
    """The tree with each innermost pair of brackets computed."""

    def computed(node: Expression) -> Expression:
        if not isinstance(node, list) or len(node) == 1:
            return node
        if any(_is_chain(x) for x in node):
            return [computed(x) for x in node]
        return _result(rng, value_of(node))

    return [computed(x) for x in tree]


def _simplify_signs(rng: random.Random, tree: Terms) -> Terms:
    """``- -2`` as ``+ 2``, ``- (-20)`` as ``+ 20``, and half of the time ``+ -2`` as ``- 2``."""
    sums = rng.random() < 0.5
    return _signs(tree, sums)


def _signs(tree: Terms, sums: bool) -> Terms:
    after: Terms = [_signs(x, sums) if isinstance(x, list) and len(x) > 1 else x for x in tree]
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


def rewrite_wrongly(rng: random.Random, before: Expression, after: Expression) -> Expression:
    """A tree in place of ``after`` with one of the mistakes that models make.

    Args:
        rng: source of all randomness.
        before: the tree that is rewritten.
        after: a right rewriting of it.
    """
    way = rng.random()
    if way < 0.12 and isinstance(before, list):
        return rewrite(rng, _wrong_order(rng, before), first=False)
    if way < 0.22 and isinstance(before, list) and len(before) > 3:
        k = rng.randrange(0, len(before) - 2, 2)
        return rewrite(rng, [*before[:k], *before[k + 2 :]], first=False)
    if way < 0.45 and isinstance(before, list):
        # A sign is lost while copying, and the work goes on from there.
        changed = change_one(rng, before, signs=True)
        assert isinstance(changed, list)
        return rewrite(rng, changed, first=False)
    new = set(_leaves(after)) - set(_leaves(before))
    return change_one(rng, after, signs=rng.random() < 0.25, among=new or None)


def _wrong_order(rng: random.Random, tree: Terms) -> Terms:
    """The tree with brackets around operations that do not come first."""
    inner = [k for k, x in enumerate(tree) if _is_chain(x)]
    if inner and rng.random() < _GOES_INSIDE:
        k = rng.choice(inner)
        node = tree[k]
        assert isinstance(node, list)
        return [*tree[:k], _wrong_order(rng, node), *tree[k + 1 :]]
    if len(tree) < 5:
        return tree
    k = rng.choice(range(1, len(tree), 2))
    size = 5 if k + 4 <= len(tree) and rng.random() < _FIVE_TERMS_IN_BRACKETS else 3
    return [*tree[: k - 1], tree[k - 1 : k - 1 + size], *tree[k - 1 + size :]]


def change_one(
    rng: random.Random, tree: Expression, signs: bool, among: set[Expression] | None = None
) -> Expression:
    """The tree with one number or one sign changed.

    Args:
        rng: source of all randomness.
        tree: any tree.
        signs: whether a sign is changed, not a number.
        among: the numbers to choose from; ``None`` for all.
    """
    paths = _paths(tree, signs, among)
    if not paths:
        return tree if signs or among is None else change_one(rng, tree, signs, None)
    path = rng.choice(paths)
    return _replaced(tree, path, lambda leaf: _slip(rng, leaf, signs))


def _paths(
    tree: Expression, signs: bool, among: set[Expression] | None, path: tuple[int, ...] = ()
) -> list[tuple[int, ...]]:
    """Paths to the leaves that ``change_one`` may change: indices from the root."""
    if isinstance(tree, list):
        return [p for k, x in enumerate(tree) for p in _paths(x, signs, among, (*path, k))]
    if isinstance(tree, str):
        return [path] if signs and tree in "+-" else []
    if signs:
        return [path] if tree else []
    return [path] if among is None or tree in among else []


def _replaced(
    tree: Expression, path: tuple[int, ...], change: Callable[[Expression], Expression]
) -> Expression:
    if not path:
        return change(tree)
    assert isinstance(tree, list)
    k = path[0]
    return [*tree[:k], _replaced(tree[k], path[1:], change), *tree[k + 1 :]]


def _slip(rng: random.Random, leaf: Expression, signs: bool) -> Expression:
    """A sign turned round, or a wrong number near the right one."""
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
