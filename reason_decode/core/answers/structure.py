r"""The structure of a cleaned answer: a number with its unit, a choice, a list, an interval."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from reason_decode.core.answers.arithmetic import exact_value
from reason_decode.core.answers.clean import FUNCTIONS

__all__ = ["Sequence", "choice_letter", "number_of", "parse_sequence", "split_unit", "without_name"]

_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer) )?"
    r"(?:\(([A-Z])\)(?:[.:]?\s+[\w\\$(-](?:(?!\([A-Z]\)).)*)?|\(([a-z])\)|([A-Z])(?:[.:)](?:\s+\S.*)?)?)"
)
# Spellings of one unit; the first is its name.
_UNITS = (
    "$ dollar dollars usd buck bucks", "£ pound pounds gbp", "€ euro euros eur", "¥ yen yuan",
    "cent cents ¢", "% percent percentage", "^{\\circ} degree degrees deg",
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres", "m meter meters metre metres",
    "km kilometer kilometers kilometre kilometres", "in inch inches", "ft foot feet",
    "yd yard yards", "mi mile miles", "mg milligram milligrams", "g gram grams",
    "kg kilogram kilograms kilo kilos", "lb lbs", "oz ounce ounces", "ton tons",
    "ml milliliter milliliters millilitre millilitres", "l liter liters litre litres L",
    "s sec secs second seconds", "min mins minute minutes", "h hr hrs hour hours",
    "day days", "week weeks", "month months", "year years yr yrs", "am", "pm",
    "unit units", "mph", "kph", "rad radian radians", "V volt volts", "W watt watts",
    "J joule joules", "N newton newtons", "Pa", "Hz", "KB kb", "MB mb",
    "GB gb", "TB tb", "K kelvin", "C", "F",
)  # fmt: skip
_UNIT_NAMES = {spelling: row.split()[0] for row in _UNITS for spelling in row.split()}
_WORD_UNIT = re.compile(r"(?:sq|square|cubic|cu)\.?|per|[A-Za-z]+")
_UNIT_TAIL = re.compile(
    r"(?P<value>.*\\pi(?! ?\\)|.*[\d})!|])(?P<gap> ?)"
    r"(?P<unit>[A-Za-z$£€¥¢%^\\][A-Za-z0-9$£€¥¢%^{}\\/ .-]*)",
    re.DOTALL,
)
_PLAIN = re.compile(r"[-+]?[\d.,/ ]+|[-+]?\d* ?\\frac\{\d+\}\{\d+\}")
_NOT_UNITS = frozenset("and or if where is are when with over to than by x y z".split())
_SIGN_FIRST = re.compile(r"([-+]?) ?([$£€¥]) ?([-+]?)(?=[\d.\\(])")

_MIXED = re.compile(r"(-?)(\d+) ?(?:\\frac\{(\d+)\}\{(\d+)\}|(?<= )(\d+)/(\d+))")
_FRACTION = re.compile(r"\\frac\{([^{}\\]*)\}\{([^{}\\]*)\}")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\{(\d+)\}")
_EXPONENT = re.compile(r"\^ ?\{([^{}]*)\}")
_TO_ARITHMETIC = (
    (re.compile(r"\\(?:cdot|times|ast)(?![a-zA-Z])|(?<=\d) x (?=1?0|\d)"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])"), "/"),
)
_NAME = re.compile(
    r"(?:[A-Za-z](?:_\{?\w+\}?|')?|\\[a-z]+|[A-Za-z]\([a-z0-9](?:, ?[a-z0-9])*\)"
    r"|\([a-zA-Z](?:, ?[a-zA-Z])+\)) ?(?:=|\\in(?![a-z])|:(?!\d)) ?(?=\S)"
)


def choice_letter(text: str) -> str | None:
    """The letter of a multiple choice: ``B`` of ``B``, ``(B)``, ``B)``, ``B. Paris``."""
    match = _CHOICE.fullmatch(text)
    # A small letter in brackets is a choice; alone it is a variable.
    return (match[1] or match[2] or match[3]).upper() if match else None


# A vote compares each answer with many; it is read once.
@lru_cache(maxsize=4096)
def split_unit(text: str) -> tuple[str, str | None]:
    r"""The value and the unit of an answer: ``"12 cm^2"`` -> ``("12", "cm^2")``.

    A currency sign in front is a unit as well. A letter right behind a number is no unit but a
    variable, unless it spells one of two letters (``5cm``); a single letter is a unit behind a
    space and a plain number only (``5 m``).
    """
    unit = None
    sign = _SIGN_FIRST.match(text)
    if sign:
        text, unit = sign[1] + sign[3] + text[sign.end() :], sign[2]
    match = _UNIT_TAIL.fullmatch(text)
    if match and match["value"].strip():
        spaced = bool(match["gap"])
        name = _unit_name(match["unit"], spaced=spaced)
        letter = re.fullmatch(r"[a-zA-Z](?:\^\{?\d\}?)?", match["unit"].strip(" ."))
        if name is not None and (not letter or spaced and _PLAIN.fullmatch(match["value"])):
            return match["value"].strip(), unit if unit and name != "%" else name
    return text, unit


def _unit_name(said: str, *, spaced: bool) -> str | None:
    """The name of a unit, or ``None`` where this is none."""
    said = said.strip(" .")
    power = re.search(r"\^\{?(\d)\}?$", said)
    base = said[: power.start()].strip() if power else said
    exponent = f"^{power[1]}" if power else ""
    if base.startswith("^") or not base:
        return _UNIT_NAMES.get(said.replace(" ", ""))
    if base in _UNIT_NAMES:
        return _UNIT_NAMES[base] + exponent
    if not spaced:
        return None
    words = re.split(r"[ /-]+", base)
    if not all(re.fullmatch(r"[A-Za-z]+\.?(?:\^\{?\d\}?)?", word) for word in words):
        return None
    plain = [word.strip(".").casefold() for word in words]
    if any(word in _NOT_UNITS or word in FUNCTIONS for word in plain):
        return None
    short = [word for word in plain if len(word) < 3 and word not in _UNIT_NAMES]
    if not set(short) <= {"of", "a", "an"} or len(short) == len(plain):
        return None
    named = [_UNIT_NAMES.get(word, word.removesuffix("s")) for word in plain]
    if len(named) == 2 and named[0] in ("square", "sq"):
        return f"{named[1]}^2"
    if len(named) == 2 and named[0] in ("cubic", "cu"):
        return f"{named[1]}^3"
    return " ".join("/" if word == "per" else word for word in named) + exponent


@lru_cache(maxsize=4096)
def number_of(text: str) -> Fraction | None:
    """The exact value of a cleaned answer without its unit, ``%`` as hundredths, or ``None``."""
    value, unit = split_unit(text)
    mixed = _MIXED.fullmatch(value)
    if mixed:
        sign, whole, *parts = mixed.groups()
        above, below = [int(x) for x in parts if x is not None]
        if not below:
            return None
        number = Fraction(int(whole)) + Fraction(above, below)
        number = -number if sign else number
    else:
        for pattern, replacement in _TO_ARITHMETIC:
            value = pattern.sub(replacement, value)
        value = _REPEATING.sub(_repeated, _EXPONENT.sub(r"^(\1)", value))
        for _ in range(8):  # fractions of fractions, from the inside out
            value, count = _FRACTION.subn(r"((\1)/(\2))", value)
            if not count:
                break
        # A fraction right behind a number has been read as a mixed number, or has no clear value.
        if re.search(r"\d ?\(\(", value):
            return None
        found = exact_value(value.replace("{", "(").replace("}", ")"))
        if found is None:
            return None
        number = found
    if unit == "%":
        # The sign of a sum has no clear meaning: 100 - 20%.
        return number / 100 if not re.search(r"[\d)] ?[-+*]", value) else None
    return number


def _repeated(match: re.Match[str]) -> str:
    r"""``0.1\overline{6}`` as a fraction."""
    whole, fixed, period = match.groups()
    cycle = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    return f"({Fraction(f'{whole or 0}.{fixed or 0}') + cycle})"


def without_name(text: str) -> tuple[str | None, str]:
    r"""Name and value of ``x = 5``, ``f(x) = 2x``, ``(x, y) = (1, 2)`` or ``x \in [0, 1]``."""
    match = _NAME.match(text)
    if match is None or re.search(r"(?<![<>!\\])=", text[match.end() :]):
        return None, text
    return match[0].rstrip(" =:").removesuffix("\\in").rstrip().replace(" ", ""), text[
        match.end() :
    ]


class Sequence(NamedTuple):
    """Several answers in one.

    Attributes:
        kind: a tuple, an interval or a matrix keeps its order, a set and a bare list do not.
        brackets: the opening and the closing one of a tuple or an interval, or the shape of a
            matrix.
        items: the members as text.
    """

    kind: Literal["ordered", "set", "list"]
    brackets: str
    items: list[str]


def parse_sequence(text: str) -> Sequence | None:
    r"""The members of a tuple, an interval, a matrix, a set or a list; ``None`` of a single answer.

    Inequalities are intervals: ``2 \le x < 5`` is ``[2, 5)``, ``x > 5`` is ``(5, \infty)``.
    """
    interval = _interval(text)
    if interval is not None:
        return interval
    body = text.strip()
    if matrix := _matrix(body):
        return matrix
    body = body.replace("\\langle", "(").replace("\\rangle", ")")
    if body.startswith("\\{") and body.endswith("\\}"):
        return Sequence("set", "{}", _split(body[2:-2]))
    if body.startswith("{") and body.endswith("}"):
        items = _split(body[1:-1])
        return Sequence("set", "{}", items) if len(items) > 1 else None
    if body[:1] in "([" and body[-1:] in ")]" and body:
        items = _split(body[1:-1])
        if len(items) > 1 and _balanced(body[1:-1]):
            return Sequence("ordered", body[0] + body[-1], items)
    items = _split(body)
    if len(items) > 1 and all(items):
        return Sequence("list", "", _with_first_name(items))
    return None


_MATRIX = re.compile(r"\\begin ?\{([pbBvV]?)matrix\}(.*)\\end ?\{\1matrix\}")
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?|\\cr(?![a-z])")


def _matrix(text: str) -> Sequence | None:
    """The cells of one matrix; a determinant is none of the others."""
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    rows = [[cell.strip() for cell in row.split("&")] for row in _ROW_END.split(match[2])]
    rows = rows[:-1] if len(rows) > 1 and rows[-1] == [""] else rows
    if len({len(row) for row in rows}) != 1 or match[1] in ("v", "V"):
        return None
    shape = f"matrix {len(rows)}x{len(rows[0])}"
    return Sequence("ordered", shape, [cell for row in rows for cell in row])


_RELATION = re.compile(r"(\\le(?![a-z])|\\ge(?![a-z])|<|>)")
_VARIABLE = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?|\\(?:theta|alpha|beta|lambda)")


def _interval(text: str) -> Sequence | None:
    parts = [part.strip() for part in _RELATION.split(text)]
    if len(parts) == 3:
        left, relation, right = parts
        if _VARIABLE.fullmatch(right) and not _VARIABLE.fullmatch(left):
            left, right = right, left
            relation = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}[relation]
        if not _VARIABLE.fullmatch(left) or _VARIABLE.fullmatch(right) or "=" in right:
            return None
        if relation in ("<", "\\le"):
            closing = ")" if relation == "<" else "]"
            return Sequence("ordered", f"({closing}", ["-\\infty", right])
        return Sequence("ordered", "()" if relation == ">" else "[)", [right, "\\infty"])
    if len(parts) == 5:
        low, first, middle, second, high = parts
        if not _VARIABLE.fullmatch(middle):
            return None
        if {first, second} <= {">", "\\ge"}:
            low, high, first, second = high, low, second, first
            first, second = (x.replace(">", "<").replace("\\ge", "\\le") for x in (first, second))
        if {first, second} <= {"<", "\\le"}:
            opening = "[" if first == "\\le" else "("
            closing = "]" if second == "\\le" else ")"
            return Sequence("ordered", opening + closing, [low, high])
    return None


def _with_first_name(items: list[str]) -> list[str]:
    """Members without their names: ``x = 3``, ``x = 5`` and ``n = 2``, ``3`` alike."""
    return [without_name(item)[1] for item in items]


_CONNECTOR = re.compile(r",? (?:and|or) |;")


def _split(text: str) -> list[str]:
    """The parts between commas, ``and`` and ``or`` outside every bracket."""
    text = _CONNECTOR.sub(",", text)
    parts, depth, start = [], 0, 0
    for k, c in enumerate(text):
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:k].strip())
            start = k + 1
    parts.append(text[start:].strip())
    return [part for k, part in enumerate(parts) if part or k not in (0, len(parts) - 1)]


def _balanced(text: str) -> bool:
    depth = 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if depth < 0:
            return False
    return depth == 0
