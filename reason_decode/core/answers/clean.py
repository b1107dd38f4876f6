r"""Harmless cleaning of an answer: signs, wrappers, LaTeX spacing, text commands, thousands.

Two answers that are equal after it are the same answer. Nothing here decides about mathematics.
"""

import re
import unicodedata
from functools import lru_cache

from reason_decode.core.answers.arithmetic import MAX_EXPRESSION

__all__ = ["FUNCTIONS", "clean", "is_words", "key_of", "strip_wrappers"]

# Names that mathematics writes in letters; any other run of three letters is a word.
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log exp sqrt abs max min gcd lcm "
    "mod det dim ker deg inf sup lim and cbrt floor ceil infty infinity pmod".split()
)
_UNICODE = {
    "½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "⅕": " 1/5", "⅖": " 2/5",
    "⅗": " 3/5", "⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6", "⅛": " 1/8", "⅜": " 3/8", "⅝": " 5/8",
    "⅞": " 7/8", "⁄": "/", "∕": "/", "÷": "/", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "π": r"\pi ", "∞": r"\infty ",
    "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\neq ", "≈": r"\approx ",
    "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "∉": r"\notin ",
    "°": r"^{\circ}", "º": r"^{\circ}", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"',
    "。": ".", "．": ".", "、": ",", "…": r"\ldots ", "θ": r"\theta ", "α": r"\alpha ",
    "β": r"\beta ", "λ": r"\lambda ", "ℝ": r"\mathbb{R}", "∀": r"\forall ", "∃": r"\exists ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "∠": r"\angle ",
}  # fmt: skip
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+|[₀₁₂₃₄₅₆₇₈₉]+")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\)|\{[^{}]*\})")

_PAIRS = (
    ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"),
    ("_", "_"),
    ("```", "```"), ("`", "`"), ('"', '"'), ("'", "'"),
)  # fmt: skip
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MARKERS = re.compile(r"<\|[a-z_]{1,30}\|>$|</s>$", re.IGNORECASE)
MAX_WRAPPERS = 12  # each costs one pass over the text
_WORDS = r"text|textbf|textit|textrm|textsf|texttt|textnormal|mbox|hbox|operatorname|emph"
# A single letter set as text is a unit; in mathematics it would be a variable.
_UNIT_LETTER = re.compile(
    r"(?<=[\d})i])(?:\\[,; ]|[~ ])*\\(?:"
    + _WORDS
    + r"|mathrm)\s*\{(?:\\[,; ]|[~ ])*([mgshlLVWJNK])\s*\}"
)
_UNIT_WORDS = {
    "m": "meters", "g": "grams", "s": "seconds", "h": "hours", "l": "liters", "L": "liters",
    "V": "volts", "W": "watts", "J": "joules", "N": "newtons", "K": "kelvin",
}  # fmt: skip
_TEXT_COMMAND = re.compile(r"\\(?:" + _WORDS + r")\s*\{([^{}\\]*)\}")
# In this order: sizes of brackets, spaces that print nothing, spellings of fractions, signs.
_COSMETICS = (
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\s*(?:\.(?!\d))?"), ""),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|phantom\{[^{}]*\})(?![a-zA-Z])"), ""),
    (re.compile(r"(?<!\\)\$([^$\s](?:[^$]*[^$\s])?)(?<!\\)\$(?!\d)"), r"\1"),
    (re.compile(r"(?<!\\)\\[!@]"), ""),
    (re.compile(r"(?<=\d)(?:\\[, ]|[\u2009\u202f\xa0])(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<!\\)\\(?:[,;: ]|q?quad(?![a-zA-Z]))|~"), " "),
    (re.compile(r"\{([,:;])\}"), r"\1"),
    (re.compile(r"\\math(?:rm|bf|it|sf|normal)\s*\{([^{}\\]*)\}"), r"\1"),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d|[a-zA-Z])\s*(?=\{)"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*(\d|[a-zA-Z])(?![a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\([%$#&])"), r"\1"),
    (re.compile(r"\\leqslant|\\leq(?![a-zA-Z])"), r"\\le "),
    (re.compile(r"\\geqslant|\\geq(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"\\ne(?![a-zA-Z])|\\not\s*="), r"\\neq "),
    (re.compile(r"<=|=<"), r"\\le "),
    (re.compile(r">=|=>"), r"\\ge "),
    (re.compile(r"!=|<>"), r"\\neq "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\varnothing|\\\{\s*\\\}"), r"\\emptyset "),
    (re.compile(r"\\l[vV]ert|\\r[vV]ert"), "|"),
    (re.compile(r"(?:\^ *\{? *)?\\degree(?![a-zA-Z]) *\}?|\^ *\{? *\\circ *\}?"), r"^{\\circ}"),
    (re.compile(r"\b([apAP])\.\s?[mM]\b\.?"), r"\1m"),
    (re.compile(r"(?<=\d) ?([apAP])[mM]\b"), r" \1m"),
    (re.compile(r"\s+"), " "),
)  # fmt: skip
_THOUSANDS = re.compile(
    r"(?:(?<![\d.,(\[{])|(?<=frac\{)|(?<=\}\{))(\d{1,3}(?:,\d{3})+)(?![\d,]|\.\d*,)"
)
_SPACED_THOUSANDS = re.compile(r"[-+]?[$£€¥]?\d{1,3}(?: \d{3})+(?:\.\d+)?(?: ?[a-zA-Z%]+)?")
_ONE = re.compile(r"([\^_])\s*\{\s*(\w)\s*\}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-zA-Z*]+\}")
_LETTERS = re.compile(r"\\[a-zA-Z]+|[^\W\d_]+")


def clean(answer: str) -> str:
    r"""The answer in plain signs, without wrappers, cosmetic LaTeX and thousands separators.

    Args:
        answer: any text; of more than 500 characters only the wrappers are stripped.

    Examples:
        >>> clean("$\\boxed{\\text{ }1{,}234 \\tfrac12}$.")
        '1234 \\frac{1}{2}'
    """
    text = strip_wrappers(answer)
    # Long texts are not remembered either: thousands of such would fill the memory.
    return text if len(text) > MAX_EXPRESSION else _cleaned(text)


@lru_cache(maxsize=8192)
def _cleaned(text: str) -> str:
    if not text.isascii():
        text = _plain_signs(text)
    text = _UNIT_LETTER.sub(lambda match: f" {_UNIT_WORDS[match[1]]}", text)
    text = _without_text_commands(text)
    for pattern, replacement in _COSMETICS:
        text = pattern.sub(replacement, text)
    text = strip_wrappers(text)
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if _SPACED_THOUSANDS.fullmatch(text):
        text = re.sub(r"(?<=\d) (?=\d{3})", "", text)
    return strip_wrappers(text)


def _plain_signs(text: str) -> str:
    """Unicode signs in their LaTeX or ASCII spelling; marks that do not print are dropped."""
    text = _SCRIPT.sub(_script, text)
    text = "".join(_UNICODE.get(c, c) for c in text if unicodedata.category(c) != "Cf")
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match[1].strip('(){}')}}}", text)
    kept = "\u2009\u202f\xa0"  # thin spaces, which may part thousands
    text = "".join(c if c in kept else unicodedata.normalize("NFKC", c) for c in text)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _script(match: re.Match[str]) -> str:
    raised = match[0][0] in _SUPERSCRIPTS
    table = _SUPERSCRIPTS if raised else _SUBSCRIPTS
    return f"{'^' if raised else '_'}{{{''.join(table[c] for c in match[0])}}}"


def _without_text_commands(text: str) -> str:
    r"""The content of ``\text{...}`` and its like, set off by spaces where letters would meet."""
    for _ in range(3):  # nested twice at most
        text, count = _TEXT_COMMAND.subn(r" \1 ", text)
        if not count:
            break
    return text


def strip_wrappers(text: str) -> str:
    r"""Drop what surrounds an answer: dollar signs, ``\(...\)``, a box, quotes, a period."""
    for _ in range(MAX_WRAPPERS):
        before = text
        text = _MARKERS.sub("", text.strip()).strip()
        text = text.lstrip("*").rstrip("*") if text.strip("*") else text
        if text.endswith((".", "。", ",", ";", "，")) and not text.endswith(("..", "\\,", "\\;")):
            text = text[:-1].rstrip()
        for opening, closing in _PAIRS:
            inside = text[len(opening) : len(text) - len(closing)]
            if (
                len(text) > len(opening) + len(closing)
                and text.startswith(opening)
                and text.endswith(closing)
                and opening not in inside
                and closing not in inside
            ):
                text = inside.strip()
                break
        box = _BOX.match(text)
        # A longer text is no answer, and is not read character by character.
        short = len(text) <= 4 * MAX_EXPRESSION
        if box and short and text.endswith("}") and _closes_last(text, box.end() - 1):
            text = text[box.end() : -1].strip()
        # A dollar sign without its partner.
        if text.count("$") == 1 and text.endswith("$"):
            text = text[:-1].rstrip()
        if text == before:
            break
    return text


def _closes_last(text: str, at: int) -> bool:
    """True if the brace that opens at ``at`` is closed by the last character of the text."""
    depth = 0
    for k in range(at, len(text)):
        if text[k - 1] == "\\":
            continue
        depth += (text[k] == "{") - (text[k] == "}")
        if depth == 0:
            return k == len(text) - 1
    return False


def key_of(text: str) -> str:
    """A cleaned answer as the key under which equal answers meet.

    Words lose their case and their outer punctuation; mathematics keeps its case and loses the
    spaces that separate nothing.
    """
    if is_words(text):
        return " ".join(text.casefold().strip(" .!?:;\"'").split())
    text = _ONE.sub(r"\1\2", text)
    # A space keeps its meaning between two digits (4 5) and behind a command (\pi r).
    text = re.sub(r"(\\[a-zA-Z]+) (?=[a-zA-Z])", r"\1\0", text)
    text = re.sub(r"(?<=\d) (?=\d)", "\0", text)
    return text.replace(" ", "").replace("\0", " ")


def is_words(text: str) -> bool:
    """True if a cleaned answer is written in words rather than in mathematics."""
    return any(
        len(run) >= 3 and not run.startswith("\\") and run.casefold() not in FUNCTIONS
        for run in _LETTERS.findall(_ENVIRONMENT.sub("", text))
    ) or text.casefold() in ("no", "yes", "dne")
