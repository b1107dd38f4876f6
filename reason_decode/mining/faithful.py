"""Whether a marked text is still the document, and whether a rationale gives away what follows."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped

__all__ = ["faithful", "leak"]

# A number with its decimals, a word, or any other sign.
TOKEN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]|_")
SHORTEST = 3  # of what follows; "is 5" is hardly a quotation


def faithful(
    documents: Iterable[AnnotatedDocument], *, similarity: float = 0.9, ngram: int = 8
) -> Iterator[AnnotatedDocument | Dropped]:
    """Each document with its own text under the rationales, without those that leak.

    Set aside if ``1 - edits(document, text without rationales) / longer length`` is too low. Else
    the rationales move to the same places in the document as it was: what the model changed on the
    way, such as a corrected mistake, is not learnt from. Rationales that leak go to ``rejected``.

    Args:
        documents: with the document that each was made of; read as results are asked for.
        similarity: of the two texts, in [0, 1].
        ngram: as for ``leak``.

    Raises:
        ValueError: a similarity out of range, an n-gram of less than 1, a document of unknown
            origin.
        ModuleNotFoundError: rapidfuzz, which measures the edits, is not installed.

    Source: RATIONALYST's filter (JHU-CLSP/RATIONALYST at be0b1cf), which divides by the document's
    length and leaves leaks to the prompt.

    Example:
        >>> from reason_decode.mining import Document, faithful, given
        >>> text = "2 + 3<BOT>Add them.<EOT> is 5.<BOT>Now say that it is 5!<EOT> It is 5!"
        >>> [x.rationales for x in faithful(given([Document("1", "web", text)]), ngram=4)]
        [('Add them.',)]
    """
    if not 0 <= similarity <= 1 or ngram < 1:
        raise ValueError(
            f"got similarity={similarity} and ngram={ngram}; need a share from 0 to 1, and at "
            "least 1"
        )
    return _faithful(documents, similarity, ngram, _edits())


def _faithful(
    documents: Iterable[AnnotatedDocument], least: float, ngram: int, edits: Any
) -> Iterator[AnnotatedDocument | Dropped]:
    for marked in documents:
        document = marked.document
        if document is None:
            raise ValueError(f"got {marked.id} of {marked.source} without its `document`")
        said = "".join(marked.texts)
        likeness = edits.normalized_similarity(document.text, said, score_cutoff=least)
        if likeness < least:
            reason = "unfaithful: the text without rationales is not the document"
            yield Dropped(document, "faithful", reason)
            continue
        if said != document.text:
            marked = _placed(marked, document.text, edits.opcodes(said, document.text))
        yield _without_leaks(marked, document, ngram)


def _placed(marked: AnnotatedDocument, text: str, opcodes: Any) -> AnnotatedDocument:
    """The rationales at the same places of another text, by the edits that lead to it."""
    spans = [(code.src_start, code.src_end, code.dest_start, code.dest_end) for code in opcodes]
    starts = [span[0] for span in spans]
    pieces: list[str] = []
    at = end = 0
    for piece in marked.texts[:-1]:
        at += len(piece)
        src, src_end, dest, dest_end = spans[max(bisect_right(starts, at) - 1, 0)]
        # Inside what was replaced there is no same place: the end of it stands for all.
        inside = min(dest + at - src, dest_end) if src_end - src == dest_end - dest else dest_end
        place = max(dest if at == src else inside, end)
        pieces.append(text[end:place])
        end = place
    return replace(marked, texts=(*pieces, text[end:]))


def _without_leaks(marked: AnnotatedDocument, document: Document, ngram: int) -> AnnotatedDocument:
    texts, rationales, rejected = [marked.texts[0]], [], list(marked.rejected)
    for k, rationale in enumerate(marked.rationales):
        following = marked.texts[k + 1]
        reason = leak(rationale, marked.preceding(k), following, document.answer, ngram=ngram)
        if reason:
            rejected.append((rationale, reason))
            texts[-1] += following
        else:
            rationales.append(rationale)
            texts.append(following)
    return replace(
        marked, texts=tuple(texts), rationales=tuple(rationales), rejected=tuple(rejected)
    )


def leak(
    rationale: str, preceding: str, following: str, answer: str | None = None, *, ngram: int = 8
) -> str:
    """How a rationale gives away what follows; ``""`` if it does not.

    It does if it has the final answer in it, or ``ngram`` words and signs of the next piece in a
    row (all of them, where those are fewer, from 3 on); unless the preceding text has that too.

    Args:
        rationale: the rationale.
        preceding: the text before it.
        following: the piece behind it, up to the next rationale.
        answer: the final answer, if there is one.
        ngram: see above.

    Example:
        >>> from reason_decode.mining import leak
        >>> leak("It must be 5, then.", "2 + 3", " is five.", answer="5.0")
        'leak: the final answer'
    """
    said, known, behind = _tokens(rationale), _tokens(preceding), _tokens(following)
    if answer is not None and (looked := _tokens(answer)):
        if _holds(said, looked) and not _holds(known, looked):
            return "leak: the final answer"
    size = min(ngram, len(behind))
    if size < min(SHORTEST, ngram):
        return ""
    grams = {tuple(behind[k : k + size]) for k in range(len(behind) - size + 1)}
    for k in range(len(said) - size + 1):
        gram = said[k : k + size]
        if tuple(gram) in grams and not _holds(known, gram):
            return "leak: words of what follows"
    return ""


def _tokens(text: str) -> list[str]:
    return [_plain(token) for token in TOKEN.findall(text.lower())]


def _plain(token: str) -> str:
    """``1,200.50`` -> ``1200.5``, ``5.0`` -> ``5``."""
    if not token[0].isdigit():
        return token
    token = token.replace(",", "")
    return token.rstrip("0").rstrip(".") if "." in token else token


def _holds(tokens: list[str], looked: list[str]) -> bool:
    size = len(looked)
    return any(tokens[k : k + size] == looked for k in range(len(tokens) - size + 1))


def _edits() -> Any:
    try:
        # Typed at run time: edit distances of long texts by bits, which plain Python is far from.
        return import_module("rapidfuzz.distance").Levenshtein
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the faithfulness gate needs rapidfuzz: pip install 'reason-decode[mining]'"
        ) from error
