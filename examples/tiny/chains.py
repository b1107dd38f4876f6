"""Arithmetic worked as chains of equations, several operations to an equals sign, right or flawed.

This is how a large model writes when asked for BIG-Bench Hard's ``multistep_arithmetic_two``::

    ((5 + 2 * 1 - 6) + (5 + 3 - -2 * 2)) =
    This equation can be written as "(A + B)", where A = (5 + 2 * 1 - 6) and B = (5 + 3 - -2 * 2).
    Let's calculate A = (5 + 2 * 1 - 6) = (5 + 2 - 6) = 1.
    Let's calculate B = (5 + 3 - -2 * 2) = (5 + 3 - (-4)) = (8 + 4) = 12.
    Then, the final equation is A + B = 1 + 12 = 13. So the answer is 13

Brackets come and go, signs are simplified, and the work may jump straight to a number. A line is
right if all its expressions are equal. Each line is graded by itself, so each may have a flaw.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from examples.tiny.chain_expressions import (
    change_one,
    is_computed,
    rewrite,
    rewrite_wrongly,
    value_of,
)
from reason_decode.tasks.arithmetic import LETTERS, Expression, format_expression


class Chain(NamedTuple):
    """A line of equal expressions, or of expressions that should be equal.

    Attributes:
        texts: the line in pieces, one for each expression, the first with the line's opening; the
            line is ``" = ".join(texts)``.
        values: the value of each expression.
        right: for each expression, whether all expressions up to it are equal.
    """

    texts: tuple[str, ...]
    values: tuple[int, ...]
    right: tuple[bool, ...]

    def __str__(self) -> str:
        return " = ".join(self.texts)


class Problem(NamedTuple):
    """A prompt, the line that names the parts (``None`` for a drill), and the chains after it."""

    prompt: str
    plan: str | None
    chains: tuple[Chain, ...]


def chain(
    rng: random.Random, opening: str, tree: Expression, flawed: bool, bare: bool | None = None
) -> Chain:
    """A line that leads from an expression to a number, with one flaw or none.

    Args:
        rng: source of all randomness.
        opening: the text before the first equals sign.
        tree: the first expression.
        flawed: whether an expression differs from the one before it.
        bare: whether the expressions are without outer brackets; by default in 6 of 100 lines, and
            there from the second expression on.
    """
    while True:
        trees = [tree]
        flaw_at = rng.choice((1, 1, 1, 2, 2, 3)) if flawed else 0
        while not is_computed(rng, trees):
            before = trees[-1]
            after = rewrite(rng, before, first=len(trees) == 1)
            if len(trees) == flaw_at:
                after = rewrite_wrongly(rng, before, after)
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


def problem(rng: random.Random, flawed: float) -> Problem:
    """A whole problem worked in chains.

    Args:
        rng: source of all randomness.
        flawed: the probability that a line has a flaw.
    """
    whole, plan, parts = _parts(rng)
    letters = LETTERS[: len(parts)]
    plan_text = format_expression(plan, outer=len(parts) > 2 or rng.random() < 0.5)
    named = [
        f"{k} = {format_expression(part, outer=False)}"
        for k, part in zip(letters, parts, strict=True)
    ]
    chains: list[Chain] = []
    values: dict[str, Expression] = {}
    for letter, part in zip(letters, parts, strict=True):
        line = chain(rng, f"Let's calculate {letter}", part, rng.random() < flawed)
        values[letter] = _stated_value(line.texts[-1])
        chains.append(_with_ending(line, "."))
    chains.append(_last_chain(rng, plan, plan_text, values, flawed))
    opening = f'This equation can be written as "{plan_text}", where {_joined(rng, named)}.'
    return Problem(f"{format_expression(whole, outer=False)} =\n", opening, tuple(chains))


def drill(rng: random.Random, flawed: float) -> Problem:
    """A single chain, either of a parenthesis or of the numbers of a last line.

    Args:
        rng: source of all randomness.
        flawed: the probability that the line has a flaw.
    """
    last = rng.random() < 0.25
    _, plan, parts = _parts(rng)
    if last:
        values = {k: value_of(part) for k, part in zip(LETTERS, parts, strict=False)}
        line = _last_chain(rng, plan, format_expression(plan), values, flawed, copied=True)
        return Problem(f"{line.texts[0].partition(' = ')[2]} =\n", None, (line,))
    part = rng.choice(parts)
    line = chain(rng, f"Let's calculate {rng.choice(LETTERS[:4])}", part, rng.random() < flawed)
    prompt = f"{format_expression(part, outer=False)} =\n"
    return Problem(prompt, None, (_with_ending(line, "."),))


def _parts(
    rng: random.Random,
) -> tuple[Expression, Expression, list[list[Expression]]]:
    """A problem's whole expression, its plan in letters, and the part that each letter names."""
    kind = rng.random()
    count = rng.choice((4, 4, 4, 3, 2))

    def pair(a: Expression, b: Expression) -> list[Expression]:
        return [a, rng.choice("+-*"), b]

    if kind < 0.6:
        parts = [_numbers(rng, rng.choice((4, 4, 3))) for _ in range(2)]
        whole = pair(*parts)
        return whole, ["A", whole[1], "B"], parts
    groups = [_numbers(rng, count) for _ in range(4)]
    left, right = pair(groups[0], groups[1]), pair(groups[2], groups[3])
    whole = pair(left, right)
    if kind < 0.85:
        plan: Expression = [["A", left[1], "B"], whole[1], ["C", right[1], "D"]]
        return whole, plan, groups
    if kind < 0.95:
        return whole, ["A", whole[1], "B"], [left, right]
    return whole, ["A", left[1], "B", whole[1], "C"], [groups[0], groups[1], right]


def _numbers(rng: random.Random, count: int) -> list[Expression]:
    """A chain of so many numbers from -9 to 9."""
    words: list[Expression] = [rng.randint(-9, 9)]
    for _ in range(count - 1):
        words += [rng.choice("+-*"), rng.randint(-9, 9)]
    return words


def _last_chain(
    rng: random.Random,
    plan: Expression,
    plan_text: str,
    values: Mapping[str, Expression],
    flawed: float,
    copied: bool = False,
) -> Chain:
    """The last line: the plan with its numbers, worked out, and the answer.

    Args:
        rng: source of all randomness.
        plan: the plan in letters.
        plan_text: the plan as the line states it.
        values: the value of each letter.
        flawed: the probability of a flaw.
        copied: whether the numbers are copied from the prompt, which is never done wrongly.
    """
    start = _substitute(rng, plan, values, rng.choice((0.0, 0.5, 1.0)))
    wrong = rng.random() < flawed
    miscopied = wrong and not copied and rng.random() < 0.1
    if miscopied:
        start = change_one(rng, start, signs=False)
    bare = plan_text == format_expression(plan)
    opening = f"Then, the final equation is {plan_text}"
    line = chain(rng, opening, start, wrong and not miscopied, bare)
    if miscopied:
        line = line._replace(right=(False,) * len(line.right))
    return _with_ending(line, f". So the answer is {_stated_value(line.texts[-1])}")


def _substitute(
    rng: random.Random, node: Expression, values: Mapping[str, Expression], in_brackets: float
) -> Expression:
    """The tree with letters replaced by values, negative ones in brackets with a probability."""
    if isinstance(node, list):
        return [_substitute(rng, x, values, in_brackets) for x in node]
    value = values.get(node, node) if isinstance(node, str) else node
    return [value] if isinstance(value, int) and value < 0 and rng.random() < in_brackets else value


def _with_ending(line: Chain, ending: str) -> Chain:
    return line._replace(texts=(*line.texts[:-1], line.texts[-1] + ending))


def _joined(rng: random.Random, names: Sequence[str]) -> str:
    """Names joined by "and", or sometimes by commas and "and"."""
    if len(names) < 3 or rng.random() < 0.5:
        return " and ".join(names)
    return ", ".join(names[:-1]) + f", and {names[-1]}"


def _stated_value(text: str) -> int:
    return int(text.strip("()"))
