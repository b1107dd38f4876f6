r"""Equations in LaTeX text: which of a solution's own calculations hold.

Numbers are computed as written. Letters get arbitrary numbers, so that a rearrangement holds if it
does for those. If the text gives a letter's number, the equations with that letter are checked
again with it. Nothing is known of the problem::

    $2 + 3 = 6$                         a number that is not
    $(x + 1)^2 = x^2 + 2x + 1 = x^2$    a rearrangement that holds, then one that does not
    $2x = 6$, so $x = 4$                an equation that its letter's number does not solve
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Equation", "evaluate_expression", "find_equations"]


class Equation(NamedTuple):
    """The two sides of an equals sign, compared.

    Attributes:
        kind: ``"number"``, without letters; ``"stated"``, with letters, the first of its chain;
            ``"rearranged"``, with letters, a later one of its chain; ``"solved"``, a stated one
            whose letters have the numbers that the text gives them.
        holds: whether both sides are equal.
        near: whether they differ by at most one percent.
        rounded: whether the sign is that of an approximation.
    """

    kind: str
    holds: bool
    near: bool
    rounded: bool


class _NotComputable(Exception):
    """The text is no expression that can be computed."""


_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d*\.\d+|\d+|[a-zA-Z]|\S")
_BOUND = re.compile(r"\$\$?|\\[\[\]()]|\\(?:begin|end)\{(?:align|equation|gather)\*?\}")
# Ends a formula before its bound: a new line of an alignment, or text between two formulas.
_SEPARATOR = re.compile(
    r"\\\\(?:\[[^\]]*\])?|,\s*\\?(?:quad|text)|;|\\implies|\\Rightarrow|\\Longrightarrow|\\to\b"
)
_IGNORED = re.compile(
    r"\\(?:text|mbox|textbf|mathrm|textit)\{[^{}]*\}|\\(?:boxed|fbox)(?=\{)|&|\\phantom\{[^{}]*\}"
)
_RELATION = re.compile(r"(=|\\approx|\\equiv|\\leq?\b|\\geq?\b|<|>|\\neq?\b|\\in\b|\\pmod)")
_SPACING = frozenset(
    r"\left \right \, \; \! \: \displaystyle \big \Big \bigl \bigr \quad \qquad \limits".split()
) | {"\\ "}
_CLOSING = {"(": ")", "[": ")]", "{": "}", "|": "|", r"\lvert": r"\rvert"}
# Largest number of tokens of a side, so that no text takes long.
_MAX_TOKENS = 120
_MAX_EXACT = 10**15
_MAX_POWER = 64
_MAX_FACTORIAL = 60


def find_equations(text: str) -> Iterator[Equation]:
    r"""The equations of a text whose sides can both be computed, in order; then the solved ones.

    Args:
        text: a solution with its formulas between dollar signs, ``\[ \]`` or ``\( \)``.

    Examples:
        >>> from reason_decode.scorers.ngram.equations import find_equations
        >>> [(x.kind, x.holds) for x in find_equations("$3x = 6$, so $x = 6 / 3 = 3$.")]
        [('stated', False), ('stated', False), ('number', False), ('solved', False)]
    """
    stated: list[tuple[str, str]] = []
    known: dict[str, set[float]] = {}
    before: str | None = None
    for formula in _formulas(text):
        parts = [x.strip() for x in _RELATION.split(formula)]
        if r"\equiv" in parts or r"\pmod" in parts:
            before = None
            continue
        sides, signs = parts[::2], parts[1::2]
        # A line of an alignment may continue the chain of the line above.
        continues = not sides[0] and bool(signs) and before is not None
        if continues:
            sides[0] = before or ""
        for k, (left, sign, right) in enumerate(zip(sides, signs, sides[1:], strict=False)):
            if sign not in ("=", r"\approx"):
                continue
            equation = _compare(left, right, later=continues or k > 0, rounded=sign != "=")
            if equation is None:
                continue
            yield equation
            if equation.kind == "stated" and not equation.holds:
                stated.append((left, right))
        for side, number in _assigned(sides, signs):
            known.setdefault(side, set()).add(number)
        before = sides[-1] or before
    yield from _solved(stated, {x: min(found) for x, found in known.items() if len(found) == 1})


def evaluate_expression(side: str, letters: Mapping[str, float] | int = 0) -> float:
    r"""The value of a LaTeX expression.

    Args:
        side: numbers, letters, ``+ - * / ^ !``, ``\frac``, ``\sqrt``, ``\binom``, ``\pi``.
        letters: letter -> number; or a seed, which gives each letter an arbitrary number.

    Raises:
        ValueError: it cannot be computed.

    Examples:
        >>> from reason_decode.scorers.ngram.equations import evaluate_expression
        >>> evaluate_expression(r"2^{10} - \frac{1}{2}")
        1023.5
    """
    try:
        return _Parser(side, letters).value()
    except _NotComputable:
        raise ValueError(f"got {side!r}, which cannot be computed") from None


def _formulas(text: str) -> Iterator[str]:
    # Not by one pattern of both bounds: it would search for the end again from every beginning.
    opened, start = "", 0
    for bound in _BOUND.finditer(text):
        if opened and bound[0] == _closing(opened):
            for formula in _SEPARATOR.split(text[start : bound.start()]):
                yield _IGNORED.sub(" ", formula).strip().rstrip(".,;:")
            opened = ""
        elif not opened or bound[0] == opened:
            opened, start = bound[0], bound.end()


def _closing(opened: str) -> str:
    """The bound that closes a formula."""
    known = {r"\[": r"\]", r"\(": r"\)"}
    return known.get(opened) or opened.replace(r"\begin", r"\end")


def _compare(left: str, right: str, *, later: bool, rounded: bool) -> Equation | None:
    """An equation, compared for two choices of its letters; None if a side is not computable.

    Args:
        left: the left side.
        right: the right side.
        later: whether it is not the first of its chain.
        rounded: whether the sign is that of an approximation.
    """
    try:
        pairs = [(_Parser(left, seed), _Parser(right, seed)) for seed in (1, 2)]
        values = [(a.value(), b.value()) for a, b in pairs]
    except _NotComputable:
        return None
    letters = any(parser.has_letters for parser in pairs[0])
    kind = "number" if not letters else "rearranged" if later else "stated"
    return Equation(kind, all(_equal(*x) for x in values), _near(*values[0]), rounded)


def _assigned(sides: Sequence[str], signs: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The letter and the number of a chain of equations such as ``x = 6 / 3 = 2``."""
    if len(sides[0]) == 1 and sides[0].isalpha() and set(signs) == {"="}:
        try:
            parser = _Parser(sides[-1], 0)
            number = parser.value()
        except _NotComputable:
            return
        if not parser.has_letters:
            yield sides[0], number


def _solved(stated: Sequence[tuple[str, str]], known: Mapping[str, float]) -> Iterator[Equation]:
    """The stated equations, with the numbers that the text gives their letters."""
    for left, right in stated:
        try:
            a, b = _Parser(left, known).value(), _Parser(right, known).value()
        except _NotComputable:
            continue
        # The equation that gives a letter its number holds by itself.
        if left not in known:
            yield Equation("solved", _equal(a, b), _near(a, b), rounded=False)


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(a), abs(b))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 0.01 * max(abs(a), abs(b))


class _Parser:
    """Computes one side of an equation, by recursive descent; raises ``_NotComputable``.

    Args:
        side: the text of the side.
        letters: see ``evaluate_expression``.

    Attributes:
        has_letters: whether a letter was read.
    """

    def __init__(self, side: str, letters: Mapping[str, float] | int) -> None:
        self.tokens = [x for x in _TOKEN.findall(side) if x not in _SPACING]
        self.letters, self.at, self.has_letters = letters, 0, False

    def value(self) -> float:
        """The value of the whole side."""
        if not self.tokens or len(self.tokens) > _MAX_TOKENS:
            raise _NotComputable
        try:
            found = self._sum()
        except (ArithmeticError, RecursionError):
            raise _NotComputable from None
        if self.at != len(self.tokens):
            raise _NotComputable
        return found

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        if self.at == len(self.tokens):
            raise _NotComputable
        self.at += 1
        return self.tokens[self.at - 1]

    def _sum(self) -> float:
        found = self._product()
        while self._peek() in ("+", "-"):
            # The sign is read again as the product's own.
            found = _exact(found + self._product())
        return found

    def _product(self) -> float:
        found = self._signed()
        while (token := self._peek()) and token not in ("+", "-", ")", "]", "}", "|", r"\rvert"):
            if token in ("/", r"\div"):
                self._take()
                found = _exact(found / self._signed())
            elif token in (r"\cdot", r"\times", "*"):
                self._take()
                found = _exact(found * self._signed())
            else:
                found = _exact(found * self._power())
        return found

    def _signed(self) -> float:
        sign = 1
        while self._peek() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        return sign * self._power()

    def _power(self) -> float:
        found = self._atom()
        while (token := self._peek()) in ("^", "!", r"\%", "%"):
            self._take()
            if token == "^":
                # 2^10 means the tenth power, although LaTeX would raise only the first digit.
                found = found if self._degrees() else _power(found, self._atom())
            elif token == "!":
                found = _factorial(found)
            else:
                found = found / 100
        return found

    def _degrees(self) -> bool:
        for written in ([r"\circ"], ["{", r"\circ", "}"]):
            if self.tokens[self.at : self.at + len(written)] == written:
                self.at += len(written)
                return True
        return False

    def _argument(self) -> float:
        """The argument of a command: braces, or one digit or letter."""
        token = self._peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = list(token)
        return self._atom()

    def _atom(self) -> float:
        token = self._take()
        if token[0].isdigit() or token[0] == "." != token:
            written = re.sub(r"[^\d.]", "", token)
            if len(written) > _MAX_TOKENS:
                raise _NotComputable
            return _exact(float(written) if "." in written else int(written))
        if token in _CLOSING:
            found = self._sum()
            if self._take() not in _CLOSING[token]:
                raise _NotComputable
            return abs(found) if token in ("|", r"\lvert") else found
        if token in (r"\frac", r"\dfrac", r"\tfrac"):
            return _exact(self._argument() / self._argument())
        if token == r"\sqrt":
            return self._root()
        if token in (r"\binom", r"\dbinom"):
            return _binomial(self._argument(), self._argument())
        if token == r"\pi":
            return math.pi
        if len(token) == 1 and token.isalpha() and self._peek() != "_":
            return self._letter(token)
        raise _NotComputable

    def _root(self) -> float:
        degree = 2.0
        if self._peek() == "[":
            self._take()
            degree = self._sum()
            if self._take() != "]":
                raise _NotComputable
        return _power(self._argument(), 1 / degree)

    def _letter(self, name: str) -> float:
        self.has_letters = True
        if not isinstance(self.letters, int):
            if name not in self.letters:
                raise _NotComputable
            return self.letters[name]
        return 0.5 + zlib.crc32(f"{name}{self.letters}".encode()) / (1 << 31)


def _exact(number: float) -> float:
    """The number; integers of up to 15 digits stay integers, larger ones become floats."""
    if abs(number) <= _MAX_EXACT:
        return number
    if not math.isfinite(number):
        raise _NotComputable
    return float(number)


def _integer(number: float) -> int:
    if number != int(number):
        raise _NotComputable
    return int(number)


def _power(base: float, power: float) -> float:
    if abs(power) > _MAX_POWER:
        raise _NotComputable
    if power == int(power):
        return _exact((base if power >= 0 else float(base)) ** int(power))
    if base < 0:
        raise _NotComputable
    return _exact(float(base) ** power)


def _factorial(number: float) -> float:
    if not 0 <= number <= _MAX_FACTORIAL:
        raise _NotComputable
    return _exact(math.factorial(_integer(number)))


def _binomial(among: float, count: float) -> float:
    if not 0 <= among <= _MAX_EXACT or not 0 <= count <= _MAX_FACTORIAL:
        raise _NotComputable
    return _exact(math.comb(_integer(among), _integer(count)))
