"""What the final answer of a text is, its exact value, and when two answers are the same.

Everything here reads text that a model wrote, so all of it is bounded: only the end of a long text
is read, expressions have a greatest length and depth, and nothing is ever passed to ``eval``.
"""

import re
from fractions import Fraction
from functools import lru_cache

from reason_decode.core.latex import same_latex

__all__ = ["answer_value", "evaluate", "extract_answer", "same_answer"]

MAX_TEXT = 100_000
MAX_EXPRESSION = 500
MAX_DEPTH = 50
MAX_DIGITS = 50

_BRACE = re.compile(r"\\boxed[ \t]*\{|\\[{}]|[{}]")
# These match what comes before an answer; the answer is the rest of the line.
_HASHES = re.compile(r"####")
_PHRASE = re.compile(r"\b(?:the|final) answer is\b:?", re.IGNORECASE)
_ANSWER_LINE = re.compile(
    r"^[ \t]*\**(?:the )?(?:final )?answer\**:\**", re.IGNORECASE | re.MULTILINE
)
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_ARITHMETIC = re.compile(r"[-+*/()0-9.\s×÷−]+")
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?%?")


def extract_answer(text: str) -> str | None:
    r"""The final answer that a text states, or ``None`` where it states none.

    The first of these forms that occurs anywhere decides, and of that form its last occurrence:

    1. ``\boxed{X}`` with balanced braces (of nested boxes, the one that opens last);
    2. ``#### X``;
    3. ``the answer is X`` or ``final answer is X``, up to the end of the sentence;
    4. a line ``Answer: X``.

    From X are dropped: dollar signs, asterisks and spaces around it, a final period, and the
    commas of a number such as ``70,000``. Where X holds an ``=`` sign, form 4 with plain
    arithmetic on the left means that arithmetic, whatever it is claimed to be
    (``Answer: (10 - 4) * 5 - 6 = 24`` gives ``(10 - 4) * 5 - 6``); otherwise forms 2 to 4 mean
    what stands right of the last ``=``, and form 1 is left whole.

    Args:
        text: any text; only its last 100,000 characters are read.

    Raises:
        TypeError: it is no text; no text raises anything.

    Example:
        >>> from reason_decode import extract_answer
        >>> extract_answer("So the total is \\boxed{70,000}.")
        '70000'
    """
    if not isinstance(text, str):
        raise TypeError(f"got {text!r:.80}; extract_answer reads the text of a solution")
    tail = text[-MAX_TEXT:]
    boxed = _last_boxed(tail)
    if boxed is not None:
        return _clean(boxed) or None
    for pattern in (_HASHES, _PHRASE, _ANSWER_LINE):
        found = _last(pattern, tail)
        if found is None:
            continue
        if pattern is _PHRASE:
            found = _SENTENCE_END.split(found, maxsplit=1)[0]
        left, equals, right = found.rpartition("=")
        if equals and pattern is _ANSWER_LINE and _ARITHMETIC.fullmatch(left):
            return _clean(left)
        return _clean(right) or None
    return None


def same_answer(a: str, b: str) -> bool:
    r"""Whether two answers say the same, exactly.

    ``normal(a) == normal(b)``, or ``value(a) == value(b)`` where both are arithmetic. Values are
    fractions, so ``1/2``, ``0.5``, ``50%`` and ``\frac{1}{2}`` are one answer, ``0.333`` and
    ``1/3`` two. The normal form ignores case, spaces, outer braces, braces around one character,
    a leading ``x =`` and LaTeX spacing and text commands. Answers that neither rule settles and
    that hold LaTeX are compared by math-verify, in a process bounded in time and memory.

    Args:
        a: an answer, as ``extract_answer`` gives it.
        b: the other answer; the order does not matter.

    Raises:
        ImportError: the answers need math-verify and it is not installed.
        TypeError: an answer is no text.

    Example:
        >>> from reason_decode import same_answer
        >>> same_answer("1/2", "0.5"), same_answer("1/3", "0.333")
        (True, False)
    """
    if not isinstance(a, str) or not isinstance(b, str):
        raise TypeError(
            f"got the answers {a!r:.80} and {b!r:.80}; need two texts. A solution without an "
            "answer (None) is the same as nothing"
        )
    x, y = _normal(a), _normal(b)
    if x == y:
        return True
    values = answer_value(a), answer_value(b)
    if None not in values:
        return values[0] == values[1]
    return ("\\" in x or "\\" in y) and same_latex(_clean(a), _clean(b))


def answer_value(answer: str) -> Fraction | None:
    r"""The exact value of an answer, or ``None`` where it is no plain arithmetic.

    ``evaluate`` of the answer without dollar signs, thousands commas and a leading ``x =``, with
    ``\frac``, ``\cdot``, ``\times`` and ``\div`` read as operators and a final ``%`` as hundredths.

    Args:
        answer: an answer, as ``extract_answer`` gives it. Nothing is raised.
    """
    text = _normal(answer)
    return None if len(text) > MAX_EXPRESSION else _value(text)


@lru_cache(maxsize=4096)
def _value(text: str) -> Fraction | None:
    for pattern, replacement in _TO_ARITHMETIC:
        text = pattern.sub(replacement, text)
    number = text.removesuffix("%").replace("{", "(").replace("}", ")")
    value = evaluate(number)
    return value / 100 if value is not None and text.endswith("%") else value


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an arithmetic expression, or ``None`` where it has none.

    The grammar, with ``×``, ``÷`` and ``−`` as other spellings of ``*``, ``/`` and ``-``::

        sum    = term (("+" | "-") term)*
        term   = factor (("*" | "/") factor)*
        factor = ("+" | "-")* (number | "(" sum ")")
        number = digits ["." digits] | "." digits

    Args:
        expression: any text. Whatever the grammar does not cover is ``None``, and so are a
            division by zero, more than 500 characters, more than 50 open parentheses and a number
            of more than 50 digits. Nothing is raised.
    """
    if len(expression) > MAX_EXPRESSION:
        return None
    tokens = _TOKEN.findall(expression.translate(_SIGNS).strip())
    try:
        value, end = _sum(tokens, 0, 0)
    except (_NotArithmeticError, ZeroDivisionError, IndexError):
        return None
    return value if end == len(tokens) else None


class _NotArithmeticError(Exception):
    """The tokens leave the grammar of ``evaluate``."""


_SIGNS = str.maketrans("×÷−", "*/-")
# A character of no number and no operator is a token too, so that it is met and refused.
_TOKEN = re.compile(r"[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+|\S")


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _term(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "+-":
        other, after = _term(tokens, at + 1, depth)
        value = value + other if tokens[at] == "+" else value - other
        at = after
    return value, at


def _term(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _factor(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "*/":
        other, after = _factor(tokens, at + 1, depth)
        value = value * other if tokens[at] == "*" else value / other
        at = after
    return value, at


def _factor(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    sign = 1
    while tokens[at] in "+-":
        sign = -sign if tokens[at] == "-" else sign
        at += 1
    if tokens[at] == "(":
        if depth == MAX_DEPTH:
            raise _NotArithmeticError
        value, at = _sum(tokens, at + 1, depth + 1)
        if tokens[at] != ")":
            raise _NotArithmeticError
        return sign * value, at + 1
    if tokens[at][-1] not in "0123456789" or len(tokens[at]) > MAX_DIGITS:
        raise _NotArithmeticError
    return sign * Fraction(tokens[at]), at + 1


def _last_boxed(text: str) -> str | None:
    """The content of the balanced box that opens last; one pass, whatever is left open."""
    opened: list[int | None] = []
    best: tuple[int, int] | None = None
    for brace in _BRACE.finditer(text):
        if brace[0].startswith("\\boxed"):
            opened.append(brace.end())
        elif brace[0] == "{":
            opened.append(None)
        elif brace[0] == "}" and opened:
            start = opened.pop()
            if start is not None and (best is None or start > best[0]):
                best = start, brace.start()
    return None if best is None else text[best[0] : best[1]]


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    """The rest of the line behind the last match that has more than spaces behind it."""
    for end in reversed([match.end() for match in pattern.finditer(text)]):
        stop = text.find("\n", end)
        rest = text[end:] if stop < 0 else text[end:stop]
        if rest.strip():
            return rest
    return None


def _clean(answer: str) -> str:
    answer = answer.strip().removesuffix(".").strip("$* \t\n")
    answer = answer.removeprefix("\\$").removesuffix(".")
    return answer.replace(",", "") if _THOUSANDS.fullmatch(answer) else answer


# In this order: what TeX does not print, text commands, spellings, spaces that separate no words,
# braces that group one character or the whole, the name of an unknown.
_COSMETICS = (
    (re.compile(r"\\(?:left|right)(?![a-z])|\\[!,;: ()\[\]]|~"), ""),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}\\]*)\}"), r"\1"),
    (re.compile(r"\\[dt]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\s+"), " "),
    (re.compile(r" (?!\w)|(?<!\w) "), ""),
    (re.compile(r"(?<!\\)\{(\w)\}"), r"\1"),
    (re.compile(r"^\{([^{}\\]*)\}$"), r"\1"),
    (re.compile(r"^[a-z]="), ""),
)
_TO_ARITHMETIC = (
    (re.compile(r"\\frac([0-9]|\{[^{}\\]*\})([0-9]|\{[^{}\\]*\})"), r"(\1/\2)"),
    (re.compile(r"\\(?:cdot|times)(?![a-z])"), "*"),
    (re.compile(r"\\div(?![a-z])"), "/"),
)


def _normal(answer: str) -> str:
    text = _clean(answer).casefold()
    # What is too long is not remembered either: thousands of such would fill the memory.
    return text if len(text) > MAX_EXPRESSION else _cosmetic(text)


@lru_cache(maxsize=4096)
def _cosmetic(answer: str) -> str:
    for pattern, replacement in _COSMETICS:
        answer = pattern.sub(replacement, answer)
    return answer
