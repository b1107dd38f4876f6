"""The value that a statement gives, without the words around it."""

import re

from reason_decode.core.answers.clean import clean, strip_wrappers
from reason_decode.core.answers.structure import choice_letter, number_of, split_unit

EQUALS = re.compile(r"(?<![<>!=:\\])=(?![=<>])")
"""An equals sign that is no part of another sign."""

_ALTERNATIVES = re.compile(r"\b(?:or|and)\b|,\s*[A-Za-z]\s*=|\\text\s*\{\s*(?:or|and)")
_REASON = re.compile(
    r"[,;]?\s+(?:because|since|as\s+(?:required|desired|needed|we|it|the|shown|stated|expected)|"
    r"which|so\s+that|so\s+the|given\s+that|obtained|when|where|after|for\s+(?:a|the)\s+total|"
    r"and\s+(?:this|that|it|we|the)|but|rather\s+than|not|per\s+the|according)\b.*",
    re.IGNORECASE | re.DOTALL,
)
# A whole sentence as an answer: what its first number says.
_SENTENCE = re.compile(
    r"[A-Za-z][^\d$\\]*\b(?:is|are|was|were|has|have|had|equals|costs?|takes?|needs?|gets?|got|earns?|"
    r"makes?|made|spent|spends?|will|can|ate|sold|paid|pays?)\b[^\d$\\=()\[\]]*?(?=[-+]?\$?\d)"
)
_REMARK = re.compile(r"(?<=[\d})A-Za-z]) \((?=[^()]*(?:=|[A-Za-z]{3}))[^()]*\)\.?$")
_NUMBER = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?%?")
_CURRENCY = re.compile(r"^\\?\$ ?(?=[\d.][\d.,]*$)")


def value_of(text: str) -> str | None:
    """The value that a statement gives: without a reason, a remark or the left of an equation."""
    bare = strip_wrappers(text)
    letter = choice_letter(bare)
    if letter is not None and not re.fullmatch(r"\(?[A-Za-z]\)?", bare):
        return letter
    short = strip_wrappers(_REASON.sub("", bare, count=1))
    if short != bare and (is_short_value(short) or letter):
        bare = short
    bare = strip_wrappers(_REMARK.sub("", bare))
    letter = re.match(r"\(?([A-Z])\)?\s+(?:because|since|as)\b", bare)
    if letter:
        return letter[1]
    if EQUALS.search(bare) and not _ALTERNATIVES.search(bare):
        right = EQUALS.split(bare)[-1]
        bare = strip_wrappers(right) or bare
    if sentence := _SENTENCE.match(bare):
        bare = bare[sentence.end() :]
    return plain_answer(_without_trailing_words(bare))


def is_short_value(text: str) -> bool:
    """True for a number with or without a unit, mathematics, a choice, or at most four words."""
    value, _ = split_unit(clean(text))
    return bool(text) and (
        number_of(value) is not None
        or choice_letter(text) is not None
        or "\\" in text
        or len(text.split()) <= 4
    )


def _without_trailing_words(text: str) -> str:
    """A number without the sentence that goes on behind it; a unit of three words may stay."""
    match = re.match(r"([-+]?[$£€¥]?[\d.,]*\d%?)((?:\s+[A-Za-z'-]+){4,})$", text)
    return match[1] if match else text


def plain_answer(answer: str) -> str | None:
    """An answer without wrappers, a currency sign and commas of thousands; ``None`` if empty."""
    answer = strip_wrappers(answer)
    answer = _CURRENCY.sub("", answer)
    return (answer.replace(",", "") if _NUMBER.fullmatch(answer) else answer) or None
