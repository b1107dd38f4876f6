"""Reads the final answer that a text states."""

import re
from typing import NamedTuple

from reason_decode.core.answers.clean import clean, is_words, key_of, strip_wrappers
from reason_decode.core.answers.conclusion import bare_value, conclusion
from reason_decode.core.answers.numeric import compare_values, point_value
from reason_decode.core.answers.structure import choice_letter
from reason_decode.core.answers.value import plain_answer, value_of
from reason_decode.core.thinking import THINK, answer_of

__all__ = ["extract_answer"]

MAX_TEXT = 100_000
MAX_JOINT = 40

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(?:\{|(?=[^\s{]))|\\[{}]|[{}]")
# Between boxes that are one answer: "$x = \boxed{1}$ or $x = \boxed{2}$".
_JOINT = re.compile(
    r"\}?[\s.,;]*(?:\$|\\\)|\\\])?[\s.,;]*(?P<word>(?:\\text ?\{ ?)?\b(?:and|or)\b ?\}?)?\s*"
    r"(?:\$|\\\(|\\\[)?\s*(?:(?P<name>[A-Za-z]\w*) ?= ?)?"
)
_NAME_BEFORE = re.compile(r"([A-Za-z]\w*) ?= ?$")
_TAGGED = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.IGNORECASE | re.DOTALL)
# These match what comes before an answer.
_HASHES = re.compile(r"(?<!#)####(?!#)")
_SUBJECT = (
    r"(?:the|our|my|a|final|correct|right|so|thus)\s+(?:(?:final|correct|right|best)\s+)*"
    r"(?:answer|option|choice)"
)
_PHRASE = re.compile(
    rf"\b(?:{_SUBJECT}|(?:final|correct)\s+answer)"
    r"\s{0,4}\*{0,4}\s{0,4}"
    r"(?:\b(?:is|was|would\s+be|will\s+be|should\s+be|must\s+be|equals|becomes|are)\b"
    r"\s{0,4}\*{0,4}:?|:|=)"
    r"|答案\s*(?:是|为|為|[:：])",
    re.IGNORECASE,
)
_ANSWER_LINE = re.compile(
    r"(?:^[^\w\n]{0,12}|(?<=[.!?。>#*|] )|(?<=[.!?>#*]))[*_]{0,4}"
    r"(?:(?:the|so|thus|hence|therefore),?[^\S\n]+)*(?:final[^\S\n]+|correct[^\S\n]+|my[^\S\n]+)*"
    r"answer[^\S\n]{0,4}[*_]{0,4}[^\S\n]{0,4}(?:[:：]|(?=[*_]{0,4}[^\S\n]{0,4}\n))[*_]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT_LINE = re.compile(r"(?:^[^\S\n]*|(?<=\? ))A:[^\S\n]*", re.MULTILINE)
_ADVERB = re.compile(
    r"(?:approximately|about|roughly|around|nearly|exactly|thus|therefore|hence|then|simply|just|"
    r"indeed|also|clearly|equal to|given by|as follows|found to be|obtained as)\b:? *",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|[。！？!?](?=\s|$)|[。！？]")
_ABBREVIATION = re.compile(
    r"\b(?:Dr|Mr|Mrs|Ms|St|Mt|Ft|Jr|Sr|Prof|No|vs|approx|etc|e\.g|i\.e|a\.m|p\.m|U\.S|Inc|Ave|sq|cu)$"
)
_NO_ANSWER = re.compile(
    r"(?:in)?(?:correct|right|wrong|reasonable|valid|verified|confirmed|clear|obvious|unknown|ready)\b"
    r"|(?:that|because|given|found|obtained|shown|not|now|here|below|above|in the|based|"
    r"supposed|expected|going|to be|what|how|why|whether|in fact)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?!(?:yes|no|true|false)\b)[A-Za-z]{2,}[^\n]*", re.IGNORECASE)
_ARITHMETIC = re.compile(r"[-+*/()0-9.\s×÷−]+")
_FENCE = re.compile(r"`{3}[a-z]*|\$\$|\\\[|\\\(|[*_]{2}")


def extract_answer(text: str, *, thinking: tuple[str, str] | None = THINK) -> str | None:
    r"""The final answer that a text states, or ``None`` where it states none.

    The first of these forms that occurs decides, and of that form its last occurrence:

    1. ``<answer>X</answer>``;
    2. ``\boxed{X}`` with balanced braces, or ``\boxed X`` (of nested boxes, the innermost; boxes
       joined by ``and`` or ``or`` are a list); unless a line ``Answer: X`` follows the last box;
    3. ``#### X``, where X is no heading;
    4. ``the answer is X`` and its like (``the correct option is``, ``答案是``), or a line
       ``Answer: X``; X may stand on the next line, and remarks such as ``is correct`` are skipped;
    5. a line ``A: X``;
    6. a last sentence that concludes, ``So, John is X years old.``, with one value at its end;
    7. a text that is nothing but a number, a formula, a letter of a choice, ``yes`` or ``no``.

    A thought is no answer: everything up to the last closing tag is skipped, and a text whose
    thought never ends states nothing. From X are dropped: markup, quotes and dollar signs around
    it, a final period, a reason behind it, and the commas of thousands. Where X is an equation,
    forms 3 to 5 mean the right side of the last ``=``; but ``Answer:`` with plain arithmetic on
    the left means that arithmetic (``Answer: (10 - 4) * 5 - 6 = 24``).

    Args:
        text: any text; only the last 100,000 characters of its answer are read.
        thinking: the tags around a thought; ``None`` to read thoughts as well.

    Raises:
        TypeError: it is no text; no text raises anything.

    Examples:
        >>> from reason_decode import extract_answer
        >>> extract_answer("So the total is \\boxed{70,000}.")
        '70000'
    """
    if not isinstance(text, str):
        raise TypeError(f"got {text!r:.80}; extract_answer reads the text of a solution")
    # A thought may be longer than what is read of an answer.
    tail = (text if thinking is None else answer_of(text, thinking))[-MAX_TEXT:]
    before, _, last = tail.rstrip().rpartition("\n")
    if last and set(last.strip()) == {"#"}:  # cut off where an answer was to follow
        tail = before
    tagged = [match[1] for match in _TAGGED.finditer(tail)]
    if tagged and tagged[-1].strip():
        return extract_answer(tagged[-1], thinking=None) or plain_answer(tagged[-1])
    box = _last_box(tail)
    if box is not None:
        content, end = box
        later = _answer_lines(tail, end)
        return later if later is not None else plain_answer(content)
    for form in (_hashes, _statement, _short_line, conclusion, bare_value):
        found = form(tail)
        if found is not None:
            return found
    return None


class _Box(NamedTuple):
    """Places of the command, the content and its end."""

    command: int
    start: int
    end: int


def _last_box(text: str) -> tuple[str, int] | None:
    """Content and end of the last box, or of the list of boxes that ``and`` or ``or`` joins."""
    boxes = _boxes(text)
    if not boxes:
        return None
    last = max(boxes, key=lambda box: box.start)
    contents, name = [text[last.start : last.end]], None
    for box in sorted(boxes, key=lambda box: -box.start):
        if not 0 <= last.command - box.end <= MAX_JOINT:
            continue
        joint = _JOINT.fullmatch(text, box.end, last.command)
        if not joint or len(contents) == 1 and not joint["word"]:
            continue
        # Values of different names are different answers, of which the last is asked for.
        name = joint["name"] if name is None else name
        own = _NAME_BEFORE.search(text, max(0, box.command - 20), box.command)
        if (own[1] if own else None) != joint["name"] or joint["name"] != name:
            break
        contents.append(text[box.start : box.end])
        last = box
    end = max(box.end for box in boxes)
    if any(_may_be_same(contents[0], other) for other in contents[1:]):
        contents = contents[:1]
    return ", ".join(reversed(contents)), end


def _may_be_same(a: str, b: str) -> bool:
    """True if two boxes may be spellings of one answer: ``0.25`` and ``1/4``, a set and words."""
    x, y = clean(a), clean(b)
    # 28 and 28_9 are one numeral with and without its base.
    if is_words(x) or is_words(y) or key_of(x).partition("_")[0] == key_of(y).partition("_")[0]:
        return True
    first, second = point_value(x), point_value(y)
    return first is not None and second is not None and compare_values(first, second) is None


def _boxes(text: str) -> list[_Box]:
    """The balanced boxes of a text, in one pass, whatever is left open."""
    opened: list[tuple[int, int] | None] = []
    found: list[_Box] = []
    for brace in _BOX.finditer(text):
        token = brace[0]
        if token.startswith(("\\boxed", "\\fbox")):
            if token.endswith("{"):
                opened.append((brace.start(), brace.end()))
            else:  # \boxed 2: up to the next space, dollar sign or full stop
                bare = re.compile(r"(?:\\[a-zA-Z]+|[^\s$\\{}.,])+").match(text, brace.end())
                if bare:
                    found.append(_Box(brace.start(), brace.end(), bare.end()))
        elif token == "{":
            opened.append(None)
        elif token == "}" and opened:
            place = opened.pop()
            if place is not None:
                found.append(_Box(*place, brace.start()))
    return found


def _hashes(text: str) -> str | None:
    """The answer behind the last ``####`` that has one."""
    for match in reversed(list(_HASHES.finditer(text))[-1000:]):
        rest = _line_at(text, match.end(), following=True)
        if rest is None:
            continue
        bare = strip_wrappers(rest)
        if _HEADING.fullmatch(bare) and choice_letter(bare) is None:
            only_word = bare.isalpha() and not text[match.end() :].replace(rest, "", 1).strip()
            if not only_word or bare.casefold() in ("answer", "solution", "result", "conclusion"):
                continue
        found = value_of(bare)
        if found:
            return found
    return None


def _statement(text: str) -> str | None:
    """The last answer that a phrase or an answer line states."""
    marks = [(m.end(), False) for m in _PHRASE.finditer(text)]
    marks += [(m.end(), True) for m in _ANSWER_LINE.finditer(text)]
    for end, line in sorted(marks, reverse=True)[:1000]:
        found = _stated(text, end, line=line)
        if found:
            return found
    return None


def _answer_lines(text: str, start: int) -> str | None:
    """The answer of the last ``Answer:`` line behind a place."""
    for match in reversed(list(_ANSWER_LINE.finditer(text, start))[-100:]):
        found = _stated(text, match.end(), line=True)
        if found:
            return found
    return None


def _short_line(text: str) -> str | None:
    matches = list(_SHORT_LINE.finditer(text))
    return _stated(text, matches[-1].end(), line=True) if matches else None


def _stated(text: str, end: int, *, line: bool) -> str | None:
    """The answer that begins at a place, or ``None`` where only a remark does."""
    rest = _line_at(text, end, following=True)
    if rest is None:
        return None
    bare = strip_wrappers(rest.strip())
    # An answer may be stated by another phrase inside: "Final Answer: The final answer is 5."
    if not line or choice_letter(bare) is None:
        bare = _first_sentence(rest.strip())
    while adverb := _ADVERB.match(bare.lstrip("*_ ")):
        bare = bare.lstrip("*_ ")[adverb.end() :]
    if _NO_ANSWER.match(bare) or _PHRASE.search(bare) or _ANSWER_LINE.match(rest):
        return None
    left, equals, _ = bare.rpartition("=")
    if line and equals and _ARITHMETIC.fullmatch(left):
        return plain_answer(left)
    # Behind a statement an exclamation mark is no factorial.
    return value_of(strip_wrappers(bare).rstrip("!"))


def _line_at(text: str, start: int, *, following: bool) -> str | None:
    """The rest of the line from a place, or else the next line with anything but markup in it."""
    for k, line in enumerate(text[start : start + 2000].split("\n")):
        if k and not following:
            return None
        if _FENCE.sub("", line).strip(" \t:*_`$#>") and not set(line.strip()) <= set("-="):
            return line
        if k > 4:
            return None
    return None


def _first_sentence(text: str) -> str:
    """Up to the period that ends the first sentence; abbreviations end none."""
    for match in _SENTENCE_END.finditer(text):
        if match[0] in "!?" and text[: match.start()].rstrip()[-1:].isdigit():
            continue  # a factorial, or part of the answer
        if not _ABBREVIATION.search(text[: match.start()]):
            return text[: match.start()]
    return text
