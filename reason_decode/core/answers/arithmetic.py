"""Exact values of arithmetic expressions, without ``eval``."""

import re
from collections.abc import Callable
from fractions import Fraction
from math import factorial

__all__ = ["MAX_EXPRESSION", "evaluate", "exact_value"]

MAX_EXPRESSION = 500
MAX_DEPTH = 50
MAX_DIGITS = 50
# Powers and factorials of more bits than this have no value here; 2004! has 19,000.
MAX_BITS = 65_536
MAX_FACTORIAL = 5_000

_SIGNS = str.maketrans("×÷−", "*/-")
# A character of no number and no operator is a token too, so that it is met and refused.
_TOKEN = re.compile(r"[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+|\S")
_LONG_TOKEN = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![a-zA-Z])|\*\*|\S")


class _NotArithmeticError(Exception):
    """The tokens leave the grammar."""


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an arithmetic expression, or ``None`` where it has none.

    The grammar, with ``×``, ``÷`` and ``−`` as other spellings of ``*``, ``/`` and ``-``::

        sum    = term (("+" | "-") term)*
        term   = factor (("*" | "/") factor)*
        factor = ("+" | "-")* (number | "(" sum ")")
        number = digits ["." digits] | "." digits

    Args:
        expression: any text. Text outside the grammar has no value, nor has a division by zero,
            more than 500 characters, more than 50 open parentheses, or a number of more than 50
            digits. Nothing is raised.
    """
    if len(expression) > MAX_EXPRESSION:
        return None
    tokens = _TOKEN.findall(expression.translate(_SIGNS).strip())
    return _Parser(tokens, _number, powers=False).value()


def exact_value(expression: str) -> Fraction | None:
    r"""The exact value of an expression with powers, factorials and scientific notation as well.

    The grammar of ``evaluate`` with ``factor = ("+" | "-")* atom ["!"] ["^" factor]``, numbers such
    as ``5.`` and ``1.5e6``, numbers of any length, and whole exponents only.

    Args:
        expression: any text of at most 500 characters; a power or a factorial of more than 65,536
            bits has no value. Nothing is raised.
    """
    if len(expression) > MAX_EXPRESSION:
        return None
    tokens = _LONG_TOKEN.findall(expression.translate(_SIGNS).strip())
    return _Parser(["^" if x == "**" else x for x in tokens], _long_number, powers=True).value()


def _number(token: str) -> Fraction:
    if token[-1] not in "0123456789" or len(token) > MAX_DIGITS:
        raise _NotArithmeticError
    return Fraction(token)


def _long_number(token: str) -> Fraction:
    if not token.isascii() or not (token[0].isdigit() or token[0] == "." and len(token) > 1):
        raise _NotArithmeticError
    mantissa, _, exponent = token.lower().partition("e")
    if exponent and abs(int(exponent[:8])) * 4 > MAX_BITS:
        raise _NotArithmeticError
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    return value * Fraction(10) ** int(exponent) if exponent else value


class _Parser:
    """Recursive descent over tokens.

    Args:
        tokens: the expression.
        number: reads a token as a number, or raises.
        powers: whether powers and factorials are in the grammar.
    """

    def __init__(
        self, tokens: list[str], number: Callable[[str], Fraction], *, powers: bool
    ) -> None:
        self.tokens, self.number, self.powers = tokens, number, powers
        self.at = self.depth = 0

    def value(self) -> Fraction | None:
        try:
            value = self.sum()
        except (_NotArithmeticError, ZeroDivisionError, IndexError, ValueError):
            return None
        return value if self.at == len(self.tokens) else None

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def sum(self) -> Fraction:
        value = self.term()
        while self.peek() in ("+", "-"):
            value = value + self.term() if self.take() == "+" else value - self.term()
        return value

    def term(self) -> Fraction:
        value = self.factor()
        while self.peek() in ("*", "/"):
            value = value * self.factor() if self.take() == "*" else value / self.factor()
        return value

    def factor(self) -> Fraction:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        value = self.atom()
        if self.powers:
            value = self.powered(value)
        return sign * value

    def powered(self, base: Fraction) -> Fraction:
        if self.peek() == "!":
            self.take()
            if base.denominator != 1 or not 0 <= base <= MAX_FACTORIAL:
                raise _NotArithmeticError
            base = Fraction(factorial(int(base)))
        if self.peek() != "^":
            return base
        self.take()
        self.depth += 1  # each tower of powers is one level deeper
        if self.depth > MAX_DEPTH:
            raise _NotArithmeticError
        exponent = self.factor()
        self.depth -= 1
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if exponent.denominator != 1 or abs(exponent) * bits > MAX_BITS:
            raise _NotArithmeticError
        return base ** int(exponent)

    def atom(self) -> Fraction:
        token = self.take()
        if token != "(":
            return self.number(token)
        if self.depth == MAX_DEPTH:
            raise _NotArithmeticError
        self.depth += 1
        value = self.sum()
        if self.take() != ")":
            raise _NotArithmeticError
        self.depth -= 1
        return value
