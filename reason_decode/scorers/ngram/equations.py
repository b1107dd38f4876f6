r"""Equations in LaTeX text, computed: which of a solution's own calculations hold.

Numbers are computed as they stand; letters stand for arbitrary numbers, so that a rearrangement
holds if it does for those. A letter that is said to be a number is that number, and then the
equations that it stands in hold or fail, too. Nothing is known of the problem::

    $2 + 3 = 6$                         a number that is not
    $(x + 1)^2 = x^2 + 2x + 1 = x^2$    a rearrangement that holds, then one that does not
    $2x = 6$, so $x = 4$                an equation that its letter's number does not solve
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Link", "links", "value"]


class Link(NamedTuple):
    """Two sides of a sign of equality.

    Attributes:
        kind: ``"number"``; ``"rearranged"``, with letters, behind another side of its chain;
            ``"stated"``, with letters, the first of its chain; ``"solved"``, one that was stated,
            its letters the numbers that the text gives them.
        holds: whether both sides are the same.
        near: whether they are within a hundredth of each other.
        rounded: whether the text says that they are only nearly the same.
    """

    kind: str
    holds: bool
    near: bool
    rounded: bool


class _Unread(Exception):
    """What is written cannot be computed."""


_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d*\.\d+|\d+|[a-zA-Z]|\S")
_BOUND = re.compile(r"\$\$?|\\[\[\]()]|\\(?:begin|end)\{(?:align|equation|gather)\*?\}")
# A line of an alignment, or what is said beside another formula.
_APART = re.compile(
    r"\\\\(?:\[[^\]]*\])?|,\s*\\?(?:quad|text)|;|\\implies|\\Rightarrow|\\Longrightarrow|\\to\b"
)
_UNSAID = re.compile(
    r"\\(?:text|mbox|textbf|mathrm|textit)\{[^{}]*\}|\\(?:boxed|fbox)(?=\{)|&|\\phantom\{[^{}]*\}"
)
_RELATION = re.compile(r"(=|\\approx|\\equiv|\\leq?\b|\\geq?\b|<|>|\\neq?\b|\\in\b|\\pmod)")
_SPACING = frozenset(
    r"\left \right \, \; \! \: \displaystyle \big \Big \bigl \bigr \quad \qquad \limits".split()
) | {"\\ "}
_CLOSING = {"(": ")", "[": ")]", "{": "}", "|": "|", r"\lvert": r"\rvert"}
# So many tokens has a side at most, so that no text takes long.
_LONGEST = 120
_EXACT = 10**15
_LARGEST_POWER = 64
_LARGEST_FACTORIAL = 60


def links(text: str) -> Iterator[Link]:
    r"""Every equation of a text of which both sides can be computed, in order; then what is solved.

    Args:
        text: a solution, its formulas between dollar signs, ``\[ \]`` or ``\( \)``.

    Example:
        >>> from reason_decode.scorers.ngram.equations import links
        >>> [(x.kind, x.holds) for x in links("$3x = 6$, so $x = 6 / 3 = 3$.")]
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
        # A line of an alignment may go on from the last side of the line above.
        goes_on = not sides[0] and bool(signs) and before is not None
        if goes_on:
            sides[0] = before or ""
        for k, (left, sign, right) in enumerate(zip(sides, signs, sides[1:], strict=False)):
            if sign not in ("=", r"\approx"):
                continue
            link = _compared(left, right, behind=goes_on or k > 0, rounded=sign != "=")
            if link is None:
                continue
            yield link
            if link.kind == "stated" and not link.holds:
                stated.append((left, right))
        for side, number in _given(sides, signs):
            known.setdefault(side, set()).add(number)
        before = sides[-1] or before
    yield from _solved(stated, {x: min(found) for x, found in known.items() if len(found) == 1})


def value(side: str, letters: Mapping[str, float] | int = 0) -> float:
    r"""The value of an expression.

    Args:
        side: LaTeX of numbers, letters, ``+ - * / ^ !``, ``\frac``, ``\sqrt``, ``\binom``, ``\pi``.
        letters: what they are; or a seed, by which each is an arbitrary number.

    Raises:
        ValueError: it cannot be computed.

    Example:
        >>> from reason_decode.scorers.ngram.equations import value
        >>> value(r"2^{10} - \frac{1}{2}")
        1023.5
    """
    try:
        return _Reader(side, letters).whole()
    except _Unread:
        raise ValueError(f"got {side!r}, which cannot be computed") from None


def _formulas(text: str) -> Iterator[str]:
    # By hand, for a pattern of both bounds would look for the end from every beginning anew.
    opened, start = "", 0
    for bound in _BOUND.finditer(text):
        if opened and bound[0] == _ends(opened):
            for formula in _APART.split(text[start : bound.start()]):
                yield _UNSAID.sub(" ", formula).strip().rstrip(".,;:")
            opened = ""
        elif not opened or bound[0] == opened:
            opened, start = bound[0], bound.end()


def _ends(opened: str) -> str:
    """What closes a formula that was opened so."""
    known = {r"\[": r"\]", r"\(": r"\)"}
    return known.get(opened) or opened.replace(r"\begin", r"\end")


def _compared(left: str, right: str, *, behind: bool, rounded: bool) -> Link | None:
    """A link, its letters two arbitrary numbers each; None if a side cannot be computed."""
    try:
        pairs = [(_Reader(left, seed), _Reader(right, seed)) for seed in (1, 2)]
        values = [(a.whole(), b.whole()) for a, b in pairs]
    except _Unread:
        return None
    letters = any(reader.met for reader in pairs[0])
    kind = "number" if not letters else "rearranged" if behind else "stated"
    return Link(kind, all(_same(*x) for x in values), _near(*values[0]), rounded)


def _given(sides: Sequence[str], signs: Sequence[str]) -> Iterator[tuple[str, float]]:
    """A letter that a chain of equations says is a number."""
    if len(sides[0]) == 1 and sides[0].isalpha() and set(signs) == {"="}:
        try:
            reader = _Reader(sides[-1], 0)
            number = reader.whole()
        except _Unread:
            return
        if not reader.met:
            yield sides[0], number


def _solved(stated: Sequence[tuple[str, str]], known: Mapping[str, float]) -> Iterator[Link]:
    for left, right in stated:
        try:
            readers = _Reader(left, known), _Reader(right, known)
            a, b = (reader.whole() for reader in readers)
        except _Unread:
            continue
        # What gives the letter its number would always hold.
        if left not in known:
            yield Link("solved", _same(a, b), _near(a, b), rounded=False)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(a), abs(b))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 0.01 * max(abs(a), abs(b))


class _Reader:
    """Reads one side from left to right, computing it; raises ``_Unread``.

    Args:
        side: its text.
        letters: see ``value``.
    """

    def __init__(self, side: str, letters: Mapping[str, float] | int) -> None:
        self.tokens = [x for x in _TOKEN.findall(side) if x not in _SPACING]
        self.letters, self.at, self.met = letters, 0, False

    def whole(self) -> float:
        """The value of all of it."""
        if not self.tokens or len(self.tokens) > _LONGEST:
            raise _Unread
        try:
            found = self._sum()
        except (ArithmeticError, RecursionError):
            raise _Unread from None
        if self.at != len(self.tokens):
            raise _Unread
        return found

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        if self.at == len(self.tokens):
            raise _Unread
        self.at += 1
        return self.tokens[self.at - 1]

    def _sum(self) -> float:
        found = self._product()
        while self._peek() in ("+", "-"):
            # Its sign is read with the product.
            found = _kept(found + self._product())
        return found

    def _product(self) -> float:
        found = self._signed()
        while (token := self._peek()) and token not in ("+", "-", ")", "]", "}", "|", r"\rvert"):
            if token in ("/", r"\div"):
                self._take()
                found = _kept(found / self._signed())
            elif token in (r"\cdot", r"\times", "*"):
                self._take()
                found = _kept(found * self._signed())
            else:
                found = _kept(found * self._power())
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
                # Whoever writes 2^10 means the tenth power, though LaTeX raises to one digit.
                found = found if self._degrees() else _raised(found, self._atom())
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
        """What a command reads: braces, or one digit or letter."""
        token = self._peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.at : self.at + 1] = list(token)
        return self._atom()

    def _atom(self) -> float:
        token = self._take()
        if token[0].isdigit() or token[0] == "." != token:
            written = re.sub(r"[^\d.]", "", token)
            if len(written) > _LONGEST:
                raise _Unread
            return _kept(float(written) if "." in written else int(written))
        if token in _CLOSING:
            found = self._sum()
            if self._take() not in _CLOSING[token]:
                raise _Unread
            return abs(found) if token in ("|", r"\lvert") else found
        if token in (r"\frac", r"\dfrac", r"\tfrac"):
            return _kept(self._argument() / self._argument())
        if token == r"\sqrt":
            return self._root()
        if token in (r"\binom", r"\dbinom"):
            return _chosen(self._argument(), self._argument())
        if token == r"\pi":
            return math.pi
        if len(token) == 1 and token.isalpha() and self._peek() != "_":
            return self._letter(token)
        raise _Unread

    def _root(self) -> float:
        degree = 2.0
        if self._peek() == "[":
            self._take()
            degree = self._sum()
            if self._take() != "]":
                raise _Unread
        return _raised(self._argument(), 1 / degree)

    def _letter(self, name: str) -> float:
        self.met = True
        if not isinstance(self.letters, int):
            if name not in self.letters:
                raise _Unread
            return self.letters[name]
        return 0.5 + zlib.crc32(f"{name}{self.letters}".encode()) / (1 << 31)


def _kept(number: float) -> float:
    """Whole numbers stay exact as long as they are of a size that one writes."""
    if abs(number) <= _EXACT:
        return number
    if not math.isfinite(number):
        raise _Unread
    return float(number)


def _whole(number: float) -> int:
    if number != int(number):
        raise _Unread
    return int(number)


def _raised(base: float, power: float) -> float:
    if abs(power) > _LARGEST_POWER:
        raise _Unread
    if power == int(power):
        return _kept((base if power >= 0 else float(base)) ** int(power))
    if base < 0:
        raise _Unread
    return _kept(float(base) ** power)


def _factorial(number: float) -> float:
    if not 0 <= number <= _LARGEST_FACTORIAL:
        raise _Unread
    return _kept(math.factorial(_whole(number)))


def _chosen(among: float, count: float) -> float:
    if not 0 <= among <= _EXACT or not 0 <= count <= _LARGEST_FACTORIAL:
        raise _Unread
    return _kept(math.comb(_whole(among), _whole(count)))
