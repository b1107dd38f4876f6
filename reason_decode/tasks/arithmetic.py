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

A product of two long factors is split first: ``Split 37 * 82, so it is 37 * 80 + 37 * 2.`` Each
problem has exactly one such solution, so a line is right if it is the next line of that solution.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

Expression = int | str | list["Expression"]
"""A number, a letter that names a parenthesis, or a chain ``[operand, operator, operand, ...]``."""

LETTERS = "ABCDEFGH"
_TOKEN = re.compile(r"\s*(?:(\d+)|(.))")
_MAX_LENGTH = 400


class Line(NamedTuple):
    """One line of a worked solution.

    ``Line("First", "9 * 5", 45, "A is", "-1 + 2 + 45")`` is the text
    ``"First 9 * 5 = 45, so A is -1 + 2 + 45."``

    Attributes:
        opening: ``"First"``, ``"Then"``, ``"Split"``, or ``""`` if the line computes nothing.
        operation: the two factors or terms that are worked out, as text.
        value: the result of the operation; ``None`` if it is split or there is none.
        subject: what the rest of the line is said about, such as ``"A is"``.
        rest: the expression that remains.
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


def format_prompt(expression: str) -> str:
    r"""The prompt of a problem: ``"((-1 + 2) * (3 - 4)) =\n"``."""
    return f"{expression} =\n"


def parse(text: str) -> Expression | None:
    """The tree of an expression of integers, ``+ - *`` and parentheses; ``None`` for other text."""
    if len(text) > _MAX_LENGTH:
        return None
    tokens = [number or sign for number, sign in _TOKEN.findall(text.strip())]
    tokens.append("")
    node, end = _chain(tokens, 0)
    return node if node is not None and end == len(tokens) - 1 else None


def _chain(tokens: list[str], at: int) -> tuple[Expression | None, int]:
    nodes: list[Expression] = []
    while True:
        node, at = _atom(tokens, at)
        if node is None:
            return None, at
        nodes.append(node)
        if tokens[at] not in ("+", "-", "*"):
            return (nodes if len(nodes) > 1 else nodes[0]), at
        nodes.append(tokens[at])
        at += 1


def _atom(tokens: list[str], at: int) -> tuple[Expression | None, int]:
    if tokens[at] == "-" and tokens[at + 1].isdigit():
        return -int(tokens[at + 1]), at + 2
    if tokens[at].isdigit():
        return int(tokens[at]), at + 1
    if tokens[at] == "(":
        node, at = _chain(tokens, at + 1)
        return (node, at + 1) if node is not None and tokens[at] == ")" else (None, at)
    return None, at


def format_expression(node: Expression, outer: bool = True) -> str:
    """The text of a tree; a chain inside a chain is put in parentheses.

    Args:
        node: the tree.
        outer: whether the whole expression is left without parentheses of its own.
    """
    if not isinstance(node, list):
        return str(node)
    inner = " ".join(x if isinstance(x, str) else format_expression(x, outer=False) for x in node)
    return inner if outer else f"({inner})"


def value_of(node: Expression) -> int:
    """The value of a tree without letters."""
    while isinstance(node, list):
        node = next_operation(node)[2]
    assert isinstance(node, int)
    return node


def next_operation(chain: list[Expression]) -> tuple[str, int | None, Expression]:
    """The next operation of a chain: ``(operation, value, chain after it)``.

    Innermost parentheses first, products before sums, left before right. A product of two factors
    with more than one non-zero digit each is split into a sum of products; its value is ``None``.
    """
    for k, node in enumerate(chain):
        if isinstance(node, list):
            operation, value, after = next_operation(node)
            return operation, value, [*chain[:k], after, *chain[k + 1 :]]
    k = chain.index("*") if "*" in chain else 1
    a, op, b = chain[k - 1 : k + 2]
    assert isinstance(a, int) and isinstance(b, int)
    if op == "*" and min(_nonzero_digits(a), _nonzero_digits(b)) > 1:
        value, new = None, _split_product(a, b)
    else:
        value = new = {"+": a + b, "-": a - b, "*": a * b}[str(op)]
    after = [*chain[: k - 1], new, *chain[k + 2 :]]
    return f"{a} {op} {b}", value, after if len(after) > 1 else after[0]


def _nonzero_digits(x: int) -> int:
    return sum(digit != "0" for digit in str(abs(x)))


def _split_product(a: int, b: int) -> Expression:
    """The product as a sum: ``37 * 82`` gives ``37 * 80 + 37 * 2``.

    The factor with fewer non-zero digits is split.
    """
    if _nonzero_digits(a) < _nonzero_digits(b):
        a, b = b, a
    digits = str(abs(b))
    parts: list[Expression] = []
    for k, digit in enumerate(digits):
        if digit != "0":
            parts += ["+", [a, "*", int(digit) * 10 ** (len(digits) - k - 1)]]
    flat: list[Expression] = []
    sign = -1 if b < 0 else 1
    for op, part in zip(parts[::2], parts[1::2], strict=True):
        assert isinstance(part, list) and isinstance(part[2], int)
        flat += [op, part[0], "*", sign * part[2]]
    return flat[1:]


def _name_groups(node: Expression, chains: list[list[Expression]]) -> Expression:
    """The tree with each chain of plain numbers replaced by the next letter."""
    if not isinstance(node, list):
        return node
    if not any(isinstance(x, list) for x in node):
        chains.append(node)
        return LETTERS[len(chains) - 1]
    return [_name_groups(x, chains) for x in node]


def _substitute(node: Expression, values: dict[str, int]) -> Expression:
    """The tree with its letters replaced by their values."""
    if isinstance(node, list):
        return [_substitute(x, values) for x in node]
    return values.get(node, node) if isinstance(node, str) else node


def _reduce_to_number(node: Expression, subject: str) -> list[Line]:
    """Lines that reduce an expression to a number, one operation each."""
    lines: list[Line] = []
    while isinstance(node, list):
        operation, value, node = next_operation(node)
        opening = "Split" if value is None else "Then" if lines else "First"
        lines.append(Line(opening, operation, value, subject, format_expression(node)))
    return lines


def solve(expression: str) -> list[Line]:
    """The worked solution of an expression.

    Args:
        expression: integers with ``+ - *`` and parentheses, such as ``"((-1 + 2) * (3 - 4))"``.

    Raises:
        ValueError: the text is no such expression, or it has more than eight innermost
            parentheses.
    """
    tree = parse(expression)
    if not isinstance(tree, list):
        raise ValueError(
            f"got {expression[:60]!r}; allowed are integers with + - * and parentheses, "
            "for example '((-1 + 2) * (3 - 4))'"
        )
    chains: list[list[Expression]] = []
    plan = _name_groups(tree, chains)
    if len(chains) > len(LETTERS):
        raise ValueError(f"got {len(chains)} innermost parentheses; at most {len(LETTERS)} fit")
    work: list[Line] = (
        [Line("", "", None, "We need", format_expression(plan))] if len(chains) > 1 else []
    )
    values: dict[str, int] = {}
    for letter, chain in zip(LETTERS, chains, strict=False):
        work.append(Line("", "", None, f"{letter} is", format_expression(chain)))
        work += _reduce_to_number(chain, f"{letter} is")
        values[letter] = value_of(chain)
    if isinstance(plan, list):
        with_numbers = _substitute(plan, values)
        work.append(
            Line("", "", None, f"Now {format_expression(plan)} is", format_expression(with_numbers))
        )
        work += _reduce_to_number(with_numbers, "it is")
    work.append(Line("", "", None, "So the answer is", str(value_of(tree))))
    return work


def grade_steps(expression: str, steps: Sequence[str]) -> list[bool]:
    """``[step_k == solution_k for each k]``, up to and including the first wrong step.

    Args:
        expression: the problem, without ``=``.
        steps: lines of a solution, without newlines.

    Raises:
        ValueError: as ``solve``.
    """
    expected = [str(line) for line in solve(expression)]
    verdicts: list[bool] = []
    for k, line in enumerate(steps):
        verdicts.append(k < len(expected) and line == expected[k])
        if not verdicts[-1]:
            break
    return verdicts
