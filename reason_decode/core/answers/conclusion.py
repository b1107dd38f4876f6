"""Reads the value that a text concludes with, where it announces no answer."""

import re

from reason_decode.core.answers.clean import clean, strip_wrappers
from reason_decode.core.answers.structure import choice_letter, number_of, split_unit
from reason_decode.core.answers.value import EQUALS, value_of

MAX_CONCLUSION = 400
MAX_BARE = 40

_MATHS = r"\$[^$]+\$|\\\((?:(?!\\\)).)+\\\)"
_ONE = rf"(?:{_MATHS}|-?\\?[$£€]?\d[\d,]*(?:\.\d+|/\d+)?%?)"
_VALUE = re.compile(_ONE)
_DISPLAYED = re.compile(
    r"(?:\\\[|\$\$|\\begin\{(?:align|equation|gather)\*?\})"
    r"((?:(?!\\\[|\$\$|\\begin\{(?:align|equation|gather)).)*?)"
    r"(?:\\\]|\$\$|\\end\{(?:align|equation|gather)\*?\})$",
    re.DOTALL,
)
_VERB = r"(?:is|are|was|were|equals|has|have|had|costs?|takes?|needs?|gets?|got|spends?|spent)"
_CONCLUDES = re.compile(
    rf"(?P<equation>{_MATHS})"
    rf"|(?:.*\s)?{_VERB}\s+"
    r"(?:(?:approximately|about|exactly|equal to|only|a total of|(?:in )?the interval)\s+)?"
    rf"(?P<value>{_ONE})(?P<words>(?:\s+[A-Za-z'-]+){{0,10}})",
    re.IGNORECASE,
)
# "The solutions are $x = 2$ and $x = 3$": a list of values.
_LISTED = re.compile(
    r".*\b(?:solutions|values|roots|zeroe?s|answers|factors|numbers|integers|possibilities|"
    rf"options|intercepts)\b.*?\bare\s+({_ONE}(?:,\s*{_ONE})*,?\s+and\s+{_ONE})",
    re.IGNORECASE,
)
# "$x > 2$, or in interval notation, $(2, \infty)$": the value in the form that was asked for.
_RESTATED = re.compile(
    r"\bin (?:interval|set|set-builder|inequality|scientific|decimal) notation,?\s+"
    rf"(?:(?:this|it|that) is\s+)?(?P<value>{_MATHS})$",
    re.IGNORECASE,
)
# The sentence is a conclusion from the last such word on.
_THEREFORE = re.compile(r"(?:^|[\s\])}$])(?:so|thus|hence|therefore)\b,?\s+", re.IGNORECASE)
_NO_CONCLUSION = re.compile(
    r"\b(?:no|not|none|never|cannot|undefined|impossible|contradict\w*|mistake|error|if|when|case|"
    r"infinite\w*|must|between(?=\s+[$\d])|either|or|possible|let|suppose|given)\b|n't\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\s+(?:more|less|fewer|greater|times|than|out|of)\b", re.IGNORECASE)
_BEHIND = re.compile(
    r"(?:,\s+(?:which|where|since|because|as)\b.*|\s*\((?:since|because|as|where|which|note)\b[^()]*\)"
    r"|\s+(?:itself|in total|altogether))$",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE_BEFORE = re.compile(r"[.!?。！？](?:\$|\\\)|\\\])?\s")
_ENDS = (".", ".$", ".\\]", ".\\)", "!", "。")
_TRUTH = ("yes", "no", "true", "false")


def conclusion(text: str) -> str | None:
    """The value of the last sentence, if it draws a conclusion and was not cut off.

    A sentence concludes behind a word such as ``so``, where it is a line of its own, or where it
    says that something is a value. A formula that is displayed at the very end concludes by its
    last equation.
    """
    end = text.rstrip()[-MAX_CONCLUSION:]
    if displayed := _DISPLAYED.search(end):
        return _displayed_value(end[: displayed.start()], displayed[1].rstrip())
    before, _, line = end.rpartition("\n")
    line = line.strip()
    if not line.endswith(_ENDS):
        return None
    starts = [0, *(match.end() for match in _SENTENCE_BEFORE.finditer(line))]
    sentence = line[starts[-1] :].strip().rstrip(".!。")
    if restated := _RESTATED.search(sentence):
        return value_of(strip_wrappers(restated["value"]))
    own_line, named = len(starts) == 1, before.rstrip().endswith(":")
    # The value may stand before a remark, "5, which is odd", or in it: "the ratio, which is 5".
    for words in dict.fromkeys((_BEHIND.sub("", sentence), sentence)):
        found = _sentence_value(words, own_line=own_line, named=named)
        if found is not None:
            return found
    return None


def bare_value(text: str) -> str | None:
    """The value that is all that a text says: a number, a choice, a formula, ``yes`` or ``no``."""
    whole = text.strip()
    if not whole or len(whole) > MAX_BARE or "\n" in whole:
        return None
    bare = strip_wrappers(whole)
    value, unit = split_unit(clean(bare))
    is_number = number_of(value) is not None and len((unit or "").split()) <= 2
    is_formula = re.fullmatch(rf"(?:{_MATHS})\.?", whole) is not None
    is_choice = re.fullmatch(r"\(?[A-Z]\)?", bare) is not None and choice_letter(bare) is not None
    if is_number or is_formula or is_choice or bare.lower() in _TRUTH:
        return value_of(bare)
    return None


def _displayed_value(before: str, formula: str) -> str | None:
    """The right side of a formula at the end, or the formula that the words before it conclude."""
    if not formula.endswith("."):
        return None
    if EQUALS.search(formula):
        return value_of(EQUALS.split(formula)[-1].rstrip(" .!"))
    words = _SENTENCE_BEFORE.split(before.rstrip())[-1].rstrip(" :")
    concludes = _THEREFORE.search(words) and re.search(rf"\b{_VERB}(?: the .*)?$", words)
    if not concludes or _NO_CONCLUSION.search(words):
        return None
    return value_of(formula.rstrip(" .!"))


def _sentence_value(sentence: str, *, own_line: bool, named: bool) -> str | None:
    """The value that a sentence claims.

    Args:
        sentence: the sentence without its full stop.
        own_line: whether it is a line of its own.
        named: whether the line before it ends with a colon.
    """
    if _NO_CONCLUSION.search(sentence):
        return None
    marks = list(_THEREFORE.finditer(sentence))
    marked = bool(marks)
    claim = sentence[marks[-1].end() :] if marks else sentence
    if listed := _LISTED.fullmatch(claim):
        values = [value_of(strip_wrappers(x)) for x in _VALUE.findall(listed[1])]
        return ", ".join(x for x in values if x) or None
    match = _CONCLUDES.fullmatch(claim)
    alone = own_line and (named or EQUALS.search(claim) is not None)
    if match is None or (match["equation"] and not marked and not alone):
        values = _VALUE.findall(claim) if marked else []
        return value_of(strip_wrappers(values[0])) if len(values) == 1 else None
    maths = match["equation"] or match["value"]
    # Words behind a number are its unit; behind maths they may be anything.
    words = (match["words"] or "") if maths[-1].isdigit() else ""
    if not marked and not own_line and (len(words.split()) > 3 or _COMPARED.match(words)):
        return None
    return value_of(strip_wrappers(maths + words))
