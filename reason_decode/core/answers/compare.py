"""Equality of two answers."""

import re
from collections.abc import Sequence as Texts
from fractions import Fraction
from functools import lru_cache

from reason_decode.core.answers.arithmetic import MAX_EXPRESSION
from reason_decode.core.answers.clean import clean, is_words, key_of
from reason_decode.core.answers.math_verify import same_latex
from reason_decode.core.answers.numeric import compare_values, point_value
from reason_decode.core.answers.structure import (
    Sequence,
    choice_letter,
    number_of,
    parse_sequence,
    split_unit,
    without_name,
)

__all__ = ["answer_value", "same_answer", "same_answers"]

MAX_MEMBERS = 24
MAX_DEPTH = 4
# math-verify reads no meaning into these and would drop them: only equal texts are equal.
_UNREADABLE = re.compile(r"\\[lcdv]?dots[a-z]?(?![a-z])|\.\.\.|\\forall|\\exists|\\mid(?![a-z])")
_BASE = re.compile(r"\(?([0-9A-Za-z]+)\)? ?_ ?\{? ?([0-9]+|[a-z]+) ?\}?")
_DIGIT_WITH_BASE = re.compile(r"\d\)? ?_")
_TIME = re.compile(r"(\d+)((?: ?: ?\d+)+) ?(am|pm)?", re.IGNORECASE)
_ALL_REALS = re.compile(r"(?:the set of )?all reals?(?: numbers?)?|\(-\\infty ?, ?\+?\\infty ?\)")
# An equation that gives no name a value; math-verify would compare its right side alone.
_EQUATION = re.compile(r"(?<![<>!=:\\])=(?![=<>])")
_ASCII_MATH = (
    (re.compile(r"(?<![\\a-zA-Z])sqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\a-zA-Z])(pi|infty|sqrt|sin|cos|tan|log|ln|exp)(?![a-zA-Z])"), r"\\\1 "),
    (re.compile(r"(?<![\\a-zA-Z])inf(?:inity)?(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![_^])\*"), r"\\cdot "),
)  # fmt: skip


def same_answer(
    a: str, b: str, *, tolerance: float = 0.0, ordered: bool = False, strict: bool = False
) -> bool:
    r"""True if two answers mean the same; symmetric, and exact unless a tolerance is given.

    Equal after cleaning (``clean``), or two equal numbers, or equal member by member, or equal to
    math-verify. Numbers are fractions: ``1/2``, ``0.5``, ``50%`` and ``\frac{1}{2}`` are one
    answer, ``0.333`` and ``1/3`` two. Units and words behind a number count only where both answers
    have one, and so does the sign of percent: ``20%`` is ``0.2`` and, asked for in percent, ``20``.
    Letters of mathematics keep their case, words do not. Lists and sets have no order, tuples and
    intervals have one.

    Args:
        a: an answer, as ``extract_answer`` gives it.
        b: the other answer.
        tolerance: numbers whose difference is at most this share of the larger one are equal.
        ordered: the order of sets and lists counts as well.
        strict: units, currency signs and names such as ``x =`` count as well.

    Raises:
        ImportError: the answers need math-verify and it is not installed.
        TypeError: an answer is no text.

    Examples:
        >>> from reason_decode import same_answer
        >>> same_answer("1/2", "0.5"), same_answer("1/3", "0.333")
        (True, False)
    """
    if not isinstance(a, str) or not isinstance(b, str):
        raise TypeError(
            f"got the answers {a!r:.80} and {b!r:.80}; need two texts. A solution without an "
            "answer (None) is the same as nothing"
        )
    if a == b:
        return True
    if max(len(a), len(b)) > 4 * MAX_EXPRESSION:
        return clean(a) == clean(b)
    # In one order only, so that the relation is symmetric and a pair is remembered once.
    return _remembered(*sorted((a, b)), tolerance, ordered, strict)


def same_answers(
    pairs: Texts[tuple[str, str]],
    *,
    tolerance: float = 0.0,
    ordered: bool = False,
    strict: bool = False,
) -> list[bool]:
    """``same_answer`` of many pairs, on all the processes that math-verify may have.

    Args:
        pairs: the answers; equal pairs are compared once.
        tolerance: as in ``same_answer``.
        ordered: as in ``same_answer``.
        strict: as in ``same_answer``.
    """
    from concurrent.futures import ThreadPoolExecutor

    from reason_decode.core.answers.math_verify import WORKERS

    distinct = list(dict.fromkeys(tuple(sorted(pair)) for pair in pairs))
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(
            lambda pair: same_answer(*pair, tolerance=tolerance, ordered=ordered, strict=strict),
            distinct,
        )
        known = dict(zip(distinct, found, strict=True))
    return [known[tuple(sorted(pair))] for pair in pairs]  # pyright: ignore[reportArgumentType]


def answer_value(answer: str) -> Fraction | None:
    r"""The exact value of an answer without its unit, or ``None`` where it is no arithmetic.

    Args:
        answer: an answer, as ``extract_answer`` gives it. Nothing is raised.
    """
    text = clean(answer)
    return None if len(text) > MAX_EXPRESSION else number_of(without_name(text)[1])


@lru_cache(maxsize=65_536)
def _remembered(a: str, b: str, tolerance: float, ordered: bool, strict: bool) -> bool:
    x, y = (_ALL_REALS.sub(r"\\mathbb{R}", clean(text)) for text in (a, b))
    return _Comparison(tolerance, ordered, strict).same(x, y, 0)


class _Comparison:
    """The rules of ``same_answer``, under its options."""

    def __init__(self, tolerance: float, ordered: bool, strict: bool) -> None:
        self.tolerance, self.ordered, self.strict = tolerance, ordered, strict

    def same(self, x: str, y: str, depth: int) -> bool:
        """Equality of two cleaned answers, from what is certain to what math-verify decides."""
        if key_of(x) == key_of(y):
            return True
        if max(len(x), len(y)) > MAX_EXPRESSION or not x or not y:
            return False
        for rule in (self._choices, self._numerals, self._numbers, self._words, self._named):
            decided = rule(x, y, depth)
            if decided is not None:
                return decided
        if depth < MAX_DEPTH and (_inside(x) or _inside(y)):
            return self.same(_inside(x) or x, _inside(y) or y, depth + 1)
        first, second = parse_sequence(_expanded(x)), parse_sequence(_expanded(y))
        if depth < MAX_DEPTH and (first or second):
            decided = self._sequences(x, y, first, second, depth)
            if decided is not None:
                return decided
        if _UNREADABLE.search(x) or _UNREADABLE.search(y):
            return False
        if _is_equation(x) != _is_equation(y) and not (_EQUATION.search(x) and _EQUATION.search(y)):
            return False
        # math-verify drops what a brace without its partner leaves over.
        if not _braces_pair(x) or not _braces_pair(y):
            return False
        x, y = _as_latex(x), _as_latex(y)
        left, right = point_value(x), point_value(y)
        if left and right:
            decided = compare_values(left, right, self.tolerance)
            if decided is not None:
                return decided
        return same_latex(*_with_marked_capitals(x, y))

    def _choices(self, x: str, y: str, depth: int) -> bool | None:
        first, second = choice_letter(x), choice_letter(y)
        return first == second if first and second else None

    def _numbers(self, x: str, y: str, depth: int) -> bool | None:
        """Two numbers with their units; of two units, both count."""
        (left, unit), (right, other) = split_unit(x), split_unit(y)
        values = number_of(x), number_of(y)
        if None in values:
            if (unit is None) == (other is None) or self.strict or "%" in (unit, other):
                return None if unit == other or self.strict or not (unit and other) else False
            # One of two expressions has a unit, which does not count.
            return self.same(left, right, depth + 1) if depth < MAX_DEPTH else None
        if self.strict and unit != other:
            return False
        if unit and other and "%" not in (unit, other) and not _same_unit(unit, other):
            return False
        first, second = (value or Fraction(0) for value in values)
        if self._equal(first, second):
            return True
        # A sign of percent is a unit, too: to a question in percent both 20 and 20% are answers.
        if not self.strict and [unit, other].count("%") == 1 and None in (unit, other):
            return self._equal(100 * first if unit else first, 100 * second if other else second)
        return False

    def _equal(self, a: Fraction, b: Fraction) -> bool:
        return abs(a - b) <= Fraction(self.tolerance) * max(abs(a), abs(b))

    def _numerals(self, x: str, y: str, depth: int) -> bool | None:
        """Numerals of other bases and times of day."""
        bases = _BASE.fullmatch(x), _BASE.fullmatch(y)
        if bases[0] and bases[1]:
            return bases[0][1].upper() == bases[1][1].upper() and bases[0][2] == bases[1][2]
        if _DIGIT_WITH_BASE.search(x) or _DIGIT_WITH_BASE.search(y):
            # The base may be left out; a sum of numerals has no meaning to math-verify.
            found, bare = (bases[0], y) if bases[0] else (bases[1], x)
            return found is not None and not self.strict and found[1].upper() == bare.upper()
        return _same_time(x, y)

    def _words(self, x: str, y: str, depth: int) -> bool | None:
        """Words whose texts differ are different answers."""
        return False if is_words(x) or is_words(y) else None

    def _named(self, x: str, y: str, depth: int) -> bool | None:
        """``x = 5`` against ``5``: a name counts only where both answers have one."""
        (name, left), (other, right) = without_name(x), without_name(y)
        if (name is None and other is None) or depth >= MAX_DEPTH:
            return None
        if self.strict:
            return None if name == other else False
        if name and other and name != other:
            return False
        if _is_list(left) or _is_list(right):
            return None  # the name belongs to the first member
        return self.same(left, right, depth + 1)

    def _sequences(
        self, x: str, y: str, first: Sequence | None, second: Sequence | None, depth: int
    ) -> bool | None:
        if first is None or second is None:
            several, single = (first, y) if first else (second, x)
            if several and len(several.items) > 1 and _has_value(single):
                return several.kind != "ordered" and all(
                    self.same(clean(item), single, depth + 1) for item in several.items
                )
            # A set of one member, or a union that math-verify reads.
            return None if "\\" in x or "\\" in y else False
        if len(first.items) != len(second.items) or len(first.items) > MAX_MEMBERS:
            return None if "set" in (first.kind, second.kind) and "\\" in x + y else False
        kinds = {first.kind, second.kind}
        if "ordered" in kinds:
            if kinds == {"ordered"} and first.brackets != second.brackets:
                return False
            if "set" in kinds:
                return False
        if self.ordered or "ordered" in kinds:
            pairs = zip(first.items, second.items, strict=True)
            return all(self.same(clean(a), clean(b), depth + 1) for a, b in pairs)
        rest = list(second.items)
        for item in first.items:
            match = next((z for z in rest if self.same(clean(item), clean(z), depth + 1)), None)
            if match is None:
                return False
            rest.remove(match)
        return True


def _same_time(x: str, y: str) -> bool | None:
    """True if two times of day are one, ``None`` where a text is none; 3:20 may be a ratio, too."""
    first, second = _TIME.fullmatch(x), _TIME.fullmatch(y)
    if not first or not second:
        return None
    halves = {match[3].lower() for match in (first, second) if match[3]}
    if key_of(first[2]) != key_of(second[2]) or len(halves) == 2:
        return False
    left, right = int(first[1]), int(second[1])
    if not halves:
        return left == right
    shift = 12 * (halves == {"pm"})
    # 4 pm is 16, 12 am is 0.
    hours = {
        hour % 12 + shift if match[3] or hour <= 12 else hour
        for hour, match in ((left, first), (right, second))
    }
    return len(hours) == 1


def _is_equation(text: str) -> bool:
    """True if an equation has variables on its left side that it does not only name."""
    left = _EQUATION.split(text)[0]
    value = point_value(left) if left != text else None
    return value is not None and not value.constant and without_name(text)[0] is None


def _same_unit(first: str, second: str) -> bool:
    """True if two units are one: ``apple`` and ``red apple`` are, ``m`` and ``km`` are not."""
    one, other = set(first.split()), set(second.split())
    return first == second or (one <= other or other <= one)


def _has_value(text: str) -> bool:
    return number_of(text) is not None or point_value(_as_latex(text)) is not None


def _inside(text: str) -> str | None:
    """The content of brackets around a single value: ``42`` of ``(42)`` and ``[42]``."""
    inside = text[1:-1].strip()
    alone = text[:1] + text[-1:] in ("()", "[]") and not set("()[],;") & set(inside)
    return inside if alone and inside else None


def _braces_pair(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", text):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            return False
    return depth == 0


def _is_list(text: str) -> bool:
    found = parse_sequence(text)
    return found is not None and found.kind != "ordered"


def _expanded(text: str) -> str:
    r"""``1 \pm x`` as the list ``1 + x, 1 - x``; only where there is one such sign."""
    if text.count("\\pm") != 1 or "," in text or "=" in text:
        return text
    return ", ".join(text.replace("\\pm", sign) for sign in "+-")


_SYMBOL = re.compile(r"\\(?:[A-Za-z]+)|[A-Za-z]")


def _with_marked_capitals(x: str, y: str) -> tuple[str, str]:
    """Both texts with ``R`` as ``r_{9}`` where one has ``r``: math-verify ignores case."""
    symbols = set(_SYMBOL.findall(x)) | set(_SYMBOL.findall(y))
    both = {s for s in symbols if s != s.lower() and s.lower() in symbols}
    if not both:
        return x, y
    first, second = (
        _SYMBOL.sub(lambda m: f"{m[0].lower()}_{{9}}" if m[0] in both else m[0], t) for t in (x, y)
    )
    return first, second


def _as_latex(text: str) -> str:
    """A cleaned answer in the LaTeX that math-verify reads."""
    text = text.removeprefix("\\approx ")
    for pattern, replacement in _ASCII_MATH:
        text = pattern.sub(replacement, text)
    return text.replace("%", "\\%")
