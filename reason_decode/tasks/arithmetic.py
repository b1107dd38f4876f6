"""Multi-step arithmetic in the manner of BIG-Bench Hard's ``multistep_arithmetic_two``.

The parentheses get letters, each is worked out one operation a line, then the whole::

    ((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =
    We need A - B.
    A is -1 + 2 + 9 * 5.
    First 9 * 5 = 45, so A is -1 + 2 + 45.
    Then -1 + 2 = 1, so A is 1 + 45.
    Then 1 + 45 = 46, so A is 46.
    B is -2 + -4 + -4 * -7.
    ...
    Now A - B is 46 - 22.
    First 46 - 22 = 24, so it is 24.
    So the answer is 24.

A product of two long factors is split first: ``Split 37 * 82, so it is 37 * 80 + 37 * 2.`` The work
follows from the problem, so a line is right exactly when it is the next line of the solution.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

Node = int | str | list["Node"]
"""A number, a letter that stands for a parenthesis, or a chain ``[node, op, node, ...]``."""

LETTERS = "ABCDEFGH"
_TOKEN = re.compile(r"\s*(?:(\d+)|(.))")
_MAX_LENGTH = 400


class Line(NamedTuple):
    """One line of work: an opening, the equation that it computes (if any), and what is left.

    ``Line("First", "9 * 5", 45, "A is", "-1 + 2 + 45")`` reads
    ``"First 9 * 5 = 45, so A is -1 + 2 + 45."``
    """

    opening: str
    operation: str
    value: int | None
    subject: str
    rest: str

    def __str__(self) -> str:
        if not self.opening:
            return f"{self.subject} {self.rest}."
        equation = self.operation if self.value is None else f"{self.operation} = {self.value}"
        return f"{self.opening} {equation}, so {self.subject} {self.rest}."


def prompt(expression: str) -> str:
    r"""The problem as text: ``"((-1 + 2) * (3 - 4)) =\n"``."""
    return f"{expression} =\n"


def parse(text: str) -> Node | None:
    """An expression of integers, ``+ - *`` and parentheses as a tree; ``None`` if it is none."""
    if len(text) > _MAX_LENGTH:
        return None
    tokens = [number or sign for number, sign in _TOKEN.findall(text.strip())]
    tokens.append("")
    node, end = _chain(tokens, 0)
    return node if node is not None and end == len(tokens) - 1 else None


def _chain(tokens: list[str], at: int) -> tuple[Node | None, int]:
    nodes: list[Node] = []
    while True:
        node, at = _atom(tokens, at)
        if node is None:
            return None, at
        nodes.append(node)
        if tokens[at] not in ("+", "-", "*"):
            return (nodes if len(nodes) > 1 else nodes[0]), at
        nodes.append(tokens[at])
        at += 1


def _atom(tokens: list[str], at: int) -> tuple[Node | None, int]:
    if tokens[at] == "-" and tokens[at + 1].isdigit():
        return -int(tokens[at + 1]), at + 2
    if tokens[at].isdigit():
        return int(tokens[at]), at + 1
    if tokens[at] == "(":
        node, at = _chain(tokens, at + 1)
        return (node, at + 1) if node is not None and tokens[at] == ")" else (None, at)
    return None, at


def show(node: Node, outer: bool = True) -> str:
    """A tree as text; chains inside chains stand in parentheses."""
    if not isinstance(node, list):
        return str(node)
    inner = " ".join(x if isinstance(x, str) else show(x, outer=False) for x in node)
    return inner if outer else f"({inner})"


def value_of(node: Node) -> int:
    """The value of a tree without letters."""
    while isinstance(node, list):
        node = reduce(node)[2]
    assert isinstance(node, int)
    return node


def reduce(chain: list[Node]) -> tuple[str, int | None, Node]:
    """The next operation of a chain: ``(operation, value, chain afterwards)``.

    Innermost parentheses first, products before sums, left before right. A product of two factors
    with more than one non-zero digit each is split into a sum of products (its value is ``None``).
    """
    for k, node in enumerate(chain):
        if isinstance(node, list):
            operation, value, after = reduce(node)
            return operation, value, [*chain[:k], after, *chain[k + 1 :]]
    k = chain.index("*") if "*" in chain else 1
    a, op, b = chain[k - 1 : k + 2]
    assert isinstance(a, int) and isinstance(b, int)
    if op == "*" and min(_weight(a), _weight(b)) > 1:
        value, new = None, _split(a, b)
    else:
        value = new = {"+": a + b, "-": a - b, "*": a * b}[str(op)]
    after = [*chain[: k - 1], new, *chain[k + 2 :]]
    return f"{a} {op} {b}", value, after if len(after) > 1 else after[0]


def _weight(x: int) -> int:
    return sum(digit != "0" for digit in str(abs(x)))


def _split(a: int, b: int) -> Node:
    """``37 * 82`` as ``37 * 80 + 37 * 2``: the factor with fewer digits is taken apart."""
    if _weight(a) < _weight(b):
        a, b = b, a
    digits = str(abs(b))
    parts: list[Node] = []
    for k, digit in enumerate(digits):
        if digit != "0":
            parts += ["+", [a, "*", int(digit) * 10 ** (len(digits) - k - 1)]]
    flat: list[Node] = []
    sign = -1 if b < 0 else 1
    for op, part in zip(parts[::2], parts[1::2], strict=True):
        assert isinstance(part, list) and isinstance(part[2], int)
        flat += [op, part[0], "*", sign * part[2]]
    return flat[1:]


def _lettered(node: Node, chains: list[list[Node]]) -> Node:
    """The tree with each chain of plain numbers replaced by the next letter."""
    if not isinstance(node, list):
        return node
    if not any(isinstance(x, list) for x in node):
        chains.append(node)
        return LETTERS[len(chains) - 1]
    return [_lettered(x, chains) for x in node]


def _filled(node: Node, values: dict[str, int]) -> Node:
    if isinstance(node, list):
        return [_filled(x, values) for x in node]
    return values.get(node, node) if isinstance(node, str) else node


def _work_out(node: Node, subject: str) -> list[Line]:
    """One line an operation until a single number is left."""
    lines: list[Line] = []
    while isinstance(node, list):
        operation, value, node = reduce(node)
        opening = "Split" if value is None else "Then" if lines else "First"
        lines.append(Line(opening, operation, value, subject, show(node)))
    return lines


def lines(expression: str) -> list[Line]:
    """The worked solution of an expression.

    Raises:
        ValueError: the text is no expression of integers, ``+ - *`` and parentheses, or it has more
            than eight innermost parentheses.
    """
    tree = parse(expression)
    if not isinstance(tree, list):
        raise ValueError(
            f"got {expression[:60]!r}; allowed are integers with + - * and parentheses, "
            "for example '((-1 + 2) * (3 - 4))'"
        )
    chains: list[list[Node]] = []
    plan = _lettered(tree, chains)
    if len(chains) > len(LETTERS):
        raise ValueError(f"got {len(chains)} innermost parentheses; at most {len(LETTERS)} fit")
    work: list[Line] = [Line("", "", None, "We need", show(plan))] if len(chains) > 1 else []
    values: dict[str, int] = {}
    for letter, chain in zip(LETTERS, chains, strict=False):
        work.append(Line("", "", None, f"{letter} is", show(chain)))
        work += _work_out(chain, f"{letter} is")
        values[letter] = value_of(chain)
    if isinstance(plan, list):
        filled = _filled(plan, values)
        work.append(Line("", "", None, f"Now {show(plan)} is", show(filled)))
        work += _work_out(filled, "it is")
    work.append(Line("", "", None, "So the answer is", str(value_of(tree))))
    return work


def check(expression: str, steps: Sequence[str]) -> list[bool]:
    """Whether each step is the next line of the worked solution, up to the first that is not."""
    expected = [str(line) for line in lines(expression)]
    verdicts: list[bool] = []
    for k, line in enumerate(steps):
        verdicts.append(k < len(expected) and line == expected[k])
        if not verdicts[-1]:
            break
    return verdicts


def problem(rng: random.Random, deep: bool = False) -> str:
    """A random problem: two parentheses of four numbers, or (``deep``) two pairs of them."""

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


def brief(rng: random.Random) -> str:
    """A random problem of one or two operations on numbers as large as later lines meet."""
    most = rng.choice((12, 40, 99, 99, 400))
    words = [str(rng.randint(-most, most))]
    for _ in range(rng.choice((1, 1, 2))):
        op = rng.choice("+-*")
        other = rng.randint(-9, 9) * rng.choice((1, 1, 10)) if op == "*" else None
        words += [op, str(rng.randint(-most, most) if other is None else other)]
    return " ".join(words)
