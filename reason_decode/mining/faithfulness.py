"""Gates on annotated documents: the text must be unchanged, and no rationale may leak it."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped

__all__ = ["faithful", "find_leak"]

# A number with its decimals, a word, or any other sign.
TOKEN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]|_")
MIN_NGRAM = 3  # tokens in common; "is 5" is too short to be a quotation


def faithful(
    documents: Iterable[AnnotatedDocument], *, min_similarity: float = 0.9, ngram: int = 8
) -> Iterator[AnnotatedDocument | Dropped]:
    """Stage that restores the original text under the rationales and removes leaky rationales.

    A document is dropped if ``1 - edits(text, text without rationales) / longer length`` is below
    ``min_similarity``. Otherwise its rationales are moved to the same places of the original text,
    so that small changes that the model made, such as a corrected spelling, are not learned from.
    Rationales that leak move to ``rejected``.

    Args:
        documents: annotated documents with their ``document``; read as results are asked for.
        min_similarity: minimum edit similarity of the two texts, in [0, 1].
        ngram: number of consecutive words of the next piece that make a leak; see ``find_leak``.

    Raises:
        ValueError: a similarity out of range, an n-gram below 1, or an annotated document without
            its ``document``.
        ModuleNotFoundError: rapidfuzz, which computes the edits, is not installed.

    Source: RATIONALYST's filter (JHU-CLSP/RATIONALYST at be0b1cf), which divides by the length of
    the document and leaves leaks to the prompt.

    Examples:
        >>> from reason_decode.mining import Document, faithful, parse_tagged
        >>> text = "2 + 3<BOT>Add them.<EOT> is 5.<BOT>Now say that it is 5!<EOT> It is 5!"
        >>> [x.rationales for x in faithful(parse_tagged([Document("1", "web", text)]), ngram=4)]
        [('Add them.',)]
    """
    if not 0 <= min_similarity <= 1 or ngram < 1:
        raise ValueError(
            f"got min_similarity={min_similarity} and ngram={ngram}; need a share from 0 to 1, and "
            "at least 1"
        )
    return _faithful(documents, min_similarity, ngram, _levenshtein())


def _faithful(
    documents: Iterable[AnnotatedDocument], min_similarity: float, ngram: int, levenshtein: Any
) -> Iterator[AnnotatedDocument | Dropped]:
    for annotated in documents:
        document = annotated.document
        if document is None:
            raise ValueError(
                f"got {annotated.id} of {annotated.source} without its `document`; set it to the "
                "text that was annotated"
            )
        text = "".join(annotated.texts)
        similarity = levenshtein.normalized_similarity(
            document.text, text, score_cutoff=min_similarity
        )
        if similarity < min_similarity:
            reason = "unfaithful: the text without rationales is not the document"
            yield Dropped(document, "faithful", reason)
            continue
        if text != document.text:
            edits = levenshtein.opcodes(text, document.text)
            annotated = _move_to(annotated, document.text, edits)
        yield _without_leaks(annotated, document, ngram)


def _move_to(annotated: AnnotatedDocument, text: str, edits: Any) -> AnnotatedDocument:
    """The rationales at the corresponding places of another text.

    Args:
        annotated: rationales in a text that differs a little from ``text``.
        text: the original text.
        edits: the edits that turn the annotated text into ``text``.
    """
    spans = [(code.src_start, code.src_end, code.dest_start, code.dest_end) for code in edits]
    starts = [span[0] for span in spans]
    pieces: list[str] = []
    at = end = 0
    for piece in annotated.texts[:-1]:
        at += len(piece)
        src, src_end, dest, dest_end = spans[max(bisect_right(starts, at) - 1, 0)]
        # A place within replaced text has no counterpart: take the end of the replacement.
        inside = min(dest + at - src, dest_end) if src_end - src == dest_end - dest else dest_end
        place = max(dest if at == src else inside, end)
        pieces.append(text[end:place])
        end = place
    return replace(annotated, texts=(*pieces, text[end:]))


def _without_leaks(
    annotated: AnnotatedDocument, document: Document, ngram: int
) -> AnnotatedDocument:
    texts, rationales = [annotated.texts[0]], []
    rejected = list(annotated.rejected)
    for k, rationale in enumerate(annotated.rationales):
        preceding, following = annotated.preceding(k), annotated.texts[k + 1]
        reason = find_leak(rationale, preceding, following, document.answer, ngram=ngram)
        if reason:
            rejected.append((rationale, reason))
            texts[-1] += following
        else:
            rationales.append(rationale)
            texts.append(following)
    return replace(
        annotated, texts=tuple(texts), rationales=tuple(rationales), rejected=tuple(rejected)
    )


def find_leak(
    rationale: str, preceding: str, following: str, answer: str | None = None, *, ngram: int = 8
) -> str:
    """The way in which a rationale gives away what follows; ``""`` if it does not.

    A rationale leaks if it contains the final answer, or ``ngram`` consecutive words and signs of
    the next piece (the whole piece if it is shorter, from 3 on), unless the preceding text
    contains the same.

    Args:
        rationale: the rationale.
        preceding: the text before the rationale.
        following: the piece of text after it, up to the next rationale.
        answer: the final answer, if there is one.
        ngram: number of consecutive words and signs.

    Examples:
        >>> from reason_decode.mining import find_leak
        >>> find_leak("It must be 5, then.", "2 + 3", " is five.", answer="5.0")
        'leak: the final answer'
    """
    tokens, known, next_tokens = _tokens(rationale), _tokens(preceding), _tokens(following)
    if answer is not None and (answer_tokens := _tokens(answer)):
        if _contains(tokens, answer_tokens) and not _contains(known, answer_tokens):
            return "leak: the final answer"
    size = min(ngram, len(next_tokens))
    if size < min(MIN_NGRAM, ngram):
        return ""
    grams = {tuple(next_tokens[k : k + size]) for k in range(len(next_tokens) - size + 1)}
    for k in range(len(tokens) - size + 1):
        gram = tokens[k : k + size]
        if tuple(gram) in grams and not _contains(known, gram):
            return "leak: words of what follows"
    return ""


def _tokens(text: str) -> list[str]:
    return [_normalize(token) for token in TOKEN.findall(text.lower())]


def _normalize(token: str) -> str:
    """``1,200.50`` -> ``1200.5``, ``5.0`` -> ``5``."""
    if not token[0].isdigit():
        return token
    token = token.replace(",", "")
    return token.rstrip("0").rstrip(".") if "." in token else token


def _contains(tokens: list[str], sought: list[str]) -> bool:
    size = len(sought)
    return any(tokens[k : k + size] == sought for k in range(len(tokens) - size + 1))


def _levenshtein() -> Any:
    try:
        # Edit distances of long texts in bit-parallel C++; plain Python would be far too slow.
        return import_module("rapidfuzz.distance").Levenshtein
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the faithfulness gate needs rapidfuzz: pip install 'reason-decode[mining]'"
        ) from error
