r"""Values of simple expressions at a point, which tell two of them apart without a CAS.

Two expressions whose values differ somewhere are not the same. Values are complex numbers with a
bound of their rounding errors, so that a difference is certain; nothing here shows equality.
"""

import cmath
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from reason_decode.core.answers.clean import FUNCTIONS

__all__ = ["Value", "compare_values", "point_value"]

MAX_TOKENS = 150
MAX_DEPTH = 30
EPS = 2.0**-51
# Beyond these sizes floats lose what a comparison needs.
LARGEST, SMALLEST = 1e100, 1e-100
_TOKEN = re.compile(
    r"\\(?:frac|sqrt|cdot|times|div|pi|theta|alpha|beta|lambda)(?![a-zA-Z])"
    r"|\d+\.?\d*|\.\d+|[a-zA-Z]|\S"
)
_WORD = re.compile(r"(?<!\\)[a-zA-Z]{2,}")
_PRODUCT = {"*": "*", r"\cdot": "*", r"\times": "*", "/": "/", r"\div": "/"}
_CONSTANTS = {r"\pi": complex(math.pi), "e": complex(math.e), "i": 1j}
_GREEK = frozenset((r"\theta", r"\alpha", r"\beta", r"\lambda"))


class Value(NamedTuple):
    """A complex number and the largest error that it may have.

    Attributes:
        number: the value.
        error: a bound of the distance to the exact value.
        constant: whether the expression has no variables.
    """

    number: complex
    error: float
    constant: bool


class _UnclearError(Exception):
    """The text leaves the grammar, or has no one clear meaning or value."""


def compare_values(a: Value, b: Value, tolerance: float = 0.0) -> bool | None:
    """False if two values are certainly different, ``None`` if they may be equal.

    Args:
        a: the value of an expression.
        b: the value of another one at the same point.
        tolerance: constants whose difference is at most this share of the larger one are equal, and
            the result is True.
    """
    distance, error = abs(a.number - b.number), a.error + b.error
    if tolerance and a.constant and b.constant:
        return distance <= tolerance * max(abs(a.number), abs(b.number)) + error
    return False if distance > 2 * error else None


@lru_cache(maxsize=4096)
def point_value(text: str) -> Value | None:
    r"""The value of a cleaned expression, its variables at a fixed point each; ``None`` if unclear.

    Sums, products (also without a sign), fractions, roots and powers of numbers, ``\pi``, ``e``,
    ``i`` and letters. Unclear are texts outside of that, mixed numbers, roots with two readings
    (of negative numbers, but for square roots) and values that floats do not hold well.

    Args:
        text: a cleaned answer. Nothing is raised.
    """
    tokens = _TOKEN.findall(text)
    if not tokens or len(tokens) > MAX_TOKENS or not FUNCTIONS.isdisjoint(_WORD.findall(text)):
        return None
    try:
        reader = _Reader(tokens)
        number, error = reader.sum()
    except (_UnclearError, ArithmeticError, ValueError):
        return None
    return Value(number, error, reader.constant) if reader.at == len(tokens) else None


Ball = tuple[complex, float]


class _Reader:
    """Recursive descent over tokens; each method returns a number and the bound of its error."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.at = self.depth = 0
        self.constant = True

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or expected not in (None, token):
            raise _UnclearError
        self.at += 1
        return token

    def sum(self) -> Ball:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _UnclearError
        total, error = self.term()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            more, added = self.term()
            size = abs(total) + abs(more)
            total, error = total + sign * more, error + added + EPS * size
        self.depth -= 1
        return total, error

    def term(self) -> Ball:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        found, divided = self.power(), False
        while True:
            token, operator = self.peek(), _PRODUCT.get(self.peek())
            if operator:
                divided = self.take() in ("/", r"\div")
                inner = -1 if self.peek() == "-" else 1
                if inner < 0:
                    self.take()
                right = self.power()
                found = (_product if operator == "*" else _quotient)(found, right)
                sign *= inner
            elif token and (token.isalpha() or token[0] in "(\\["):
                # 2 \frac{1}{3} may be a mixed number, 1/2x is two things, and [ has other meanings.
                mixed = token == r"\frac" and self.tokens[self.at - 1][-1].isdigit()
                if token == "[" or mixed or divided:
                    raise _UnclearError
                found = _product(found, self.power())
            else:
                break
        return sign * found[0], found[1]

    def power(self) -> Ball:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _UnclearError
        sign = 1
        if self.peek() == "-":
            self.take()
            sign = -1
        number, error = self.atom() if self.peek() == "{" else self.digit_or_atom()
        if self.peek() == "^":
            raise _UnclearError
        self.depth -= 1
        return _power(base, (sign * number, error))

    def digit_or_atom(self) -> Ball:
        # In LaTeX x^12 is x^1 2, in plain text it is x^{12}.
        if self.peek().isdigit() and len(self.peek()) > 1:
            raise _UnclearError
        return self.atom()

    def atom(self) -> Ball:
        token = self.take()
        if token[0].isdigit() or token[0] == "." and len(token) > 1:
            if not token.isascii() or len(token) > 40 or self.peek()[:1] == "_":
                raise _UnclearError
            number = complex(float(token))
            return _checked(number, EPS * abs(number))
        if token in ("(", "{"):
            found = self.sum()
            self.take(")" if token == "(" else "}")
            return found
        if token == r"\frac":
            return _quotient(self.group(), self.group())
        if token == r"\sqrt":
            return self.root()
        if token in _CONSTANTS and self.peek() != "_":
            return _CONSTANTS[token], 4 * EPS
        if token.isascii() and token.isalpha() or token in _GREEK:
            return self.variable(token), EPS
        raise _UnclearError

    def group(self) -> Ball:
        self.take("{")
        found = self.sum()
        self.take("}")
        return found

    def root(self) -> Ball:
        index = 2
        if self.peek() == "[":
            self.take()
            token = self.take()
            if not re.fullmatch(r"[2-9]", token):
                raise _UnclearError
            index = int(token)
            self.take("]")
        base = self.group()
        return _power(base, (complex(1 / index), 0.0), square_root=index == 2)

    def variable(self, name: str) -> complex:
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                closing = self.tokens.index("}", self.at)
                name += "_" + "".join(self.tokens[self.at + 1 : closing])
                self.at = closing + 1
            else:
                name += "_" + self.take()
        if self.peek() == "'":
            raise _UnclearError
        self.constant = False
        # A fixed point between 1 and 3 for each name, the same in every process.
        return complex(1 + int.from_bytes(sha256(name.encode()).digest()[:4], "big") / 2**31)


def _checked(number: complex, error: float) -> Ball:
    if not (abs(number) == 0 or SMALLEST < abs(number) < LARGEST) or not error < LARGEST:
        raise _UnclearError
    return number, error


def _product(a: Ball, b: Ball) -> Ball:
    number = a[0] * b[0]
    error = abs(a[0]) * b[1] + abs(b[0]) * a[1] + a[1] * b[1] + 2 * EPS * abs(number)
    return _checked(number, error)


def _quotient(a: Ball, b: Ball) -> Ball:
    size = abs(b[0])
    if size <= 4 * b[1]:
        raise _UnclearError  # it may be a division by zero
    number = a[0] / b[0]
    error = (a[1] + abs(number) * b[1]) / (size - b[1]) + 4 * EPS * abs(number)
    return _checked(number, error)


def _power(base: Ball, exponent: Ball, *, square_root: bool = False) -> Ball:
    (number, error), (power, off) = base, exponent
    whole = off < 1e-9 and power.imag == 0 and power.real.is_integer()
    if power.imag or abs(power) > 200:
        raise _UnclearError
    if whole and not square_root:
        count = abs(int(power.real))
        found = 1 + 0j, 0.0
        for _ in range(count):
            found = _product(found, base)
        return _quotient((1 + 0j, 0.0), found) if power.real < 0 else found
    if abs(number) <= 4 * error or not square_root and (number.real <= 0 or number.imag):
        if square_root and number == 0 and error == 0:
            return 0j, 0.0
        raise _UnclearError
    # On the negative axis the sign of an imaginary part of zero would choose the root.
    root = cmath.sqrt(complex(number.real, number.imag + 0.0)) if square_root else number**power
    size, share = abs(root), error / abs(number)
    error = size * (2 * abs(power) * share + 2 * abs(cmath.log(number)) * off + 8 * EPS)
    return _checked(root, error)
