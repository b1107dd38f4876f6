"""Long documents in pieces that a model can read; none is dropped for its length."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.mining.documents import Document

__all__ = ["segment"]

# Where a text is best cut, best first: behind a paragraph, a line, a sentence.
PLACES = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?][\"')\]]*\s"))
WORD = re.compile(r"\S+\s*")


def segment(
    documents: Iterable[Document],
    tokens: int = 2000,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[Document]:
    """Each document whole, or as pieces that joined are the document.

    A piece ends behind a paragraph, a line or a sentence if one ends in its second half. Pieces are
    called ``id/0``, ``id/1`` and so on.

    Args:
        documents: any number; read as results are asked for.
        tokens: that a piece has at most, counted in the whole text.
        tokenizer: a fast one, which knows what text each token is of; ``None`` counts words.

    Raises:
        ValueError: fewer than 1 token to a piece, or a tokenizer that is not fast.

    Source: RATIONALYST's segments of 2,000 tokens (arXiv 2410.01044); its code drops documents of
    more than 2,000 characters instead.

    Example:
        >>> from reason_decode.mining import Document, segment
        >>> [x.text for x in segment([Document("1", "web", "One is 1. Two is 2.")], tokens=4)]
        ['One is 1. ', 'Two is 2.']
    """
    if tokens < 1:
        raise ValueError(f"got tokens={tokens}; a piece must have at least 1")
    if tokenizer is not None and not tokenizer.is_fast:
        raise ValueError(
            f"got {type(tokenizer).__name__}, which does not know what text a token is of; take a "
            "fast tokenizer, or None to count words"
        )
    return _segment(documents, tokens, tokenizer)


def _segment(
    documents: Iterable[Document], tokens: int, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[Document]:
    for document in documents:
        pieces = list(_pieces(document.text, _ends(document.text, tokenizer), tokens))
        if len(pieces) == 1:
            yield document
            continue
        for k, piece in enumerate(pieces):
            yield replace(document, id=f"{document.id}/{k}", text=piece)


def _ends(text: str, tokenizer: Any) -> list[int]:
    """Where in the text each token ends."""
    if tokenizer is None:
        return [found.end() for found in WORD.finditer(text)]
    # verbose=False: that a text is longer than the model reads is why it is cut here.
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [end for _, end in told["offset_mapping"]]


def _pieces(text: str, ends: list[int], tokens: int) -> Iterator[str]:
    start = first = 0
    while first + tokens < len(ends):
        middle, last = ends[first + (tokens - 1) // 2], ends[first + tokens - 1]
        end = max(_place(text, start, middle, last), start + 1)
        yield text[start:end]
        start = end
        while first < len(ends) and ends[first] <= start:
            first += 1
    yield text[start:]


def _place(text: str, start: int, low: int, high: int) -> int:
    """The last good place to cut a text at in ``[low, high]``; ``high`` if there is none."""
    for place in PLACES:
        found = [match.end() for match in place.finditer(text, start, high) if match.end() >= low]
        if found:
            return found[-1]
    return high
