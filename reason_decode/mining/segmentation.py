"""Long documents cut into segments that a model can read, at paragraphs, lines or sentences."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.mining.documents import Document

__all__ = ["segment"]

# The ends at which a text is cut, best first: of a paragraph, a line, a sentence.
BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?][\"')\]]*\s"))
WORD = re.compile(r"\S+\s*")


def segment(
    documents: Iterable[Document],
    max_tokens: int = 2000,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[Document]:
    """Cut documents of more than ``max_tokens`` tokens into segments; others stay whole.

    The segments of a document concatenate to its text. A segment ends at the end of a paragraph, a
    line or a sentence if there is one in its second half. The ids of segments are ``id/0``,
    ``id/1`` and so on.

    Args:
        documents: any number; read as results are asked for.
        max_tokens: maximum number of tokens of a segment, as the whole text is tokenized.
        tokenizer: a fast tokenizer, which maps tokens to characters; ``None`` counts words.

    Raises:
        ValueError: ``max_tokens`` is below 1, or the tokenizer is not fast.

    Source: RATIONALYST's segments of 2,000 tokens (arXiv 2410.01044); its code drops documents of
    more than 2,000 characters instead.

    Examples:
        >>> from reason_decode.mining import Document, segment
        >>> [x.text for x in segment([Document("1", "web", "One is 1. Two is 2.")], 4)]
        ['One is 1. ', 'Two is 2.']
    """
    if max_tokens < 1:
        raise ValueError(f"got max_tokens={max_tokens}; a segment must have at least 1")
    if tokenizer is not None and not tokenizer.is_fast:
        raise ValueError(
            f"got {type(tokenizer).__name__}, which does not map its tokens to characters; take a "
            "fast tokenizer, or None to count words"
        )
    return _segment(documents, max_tokens, tokenizer)


def _segment(
    documents: Iterable[Document], max_tokens: int, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[Document]:
    for document in documents:
        ends = _token_ends(document.text, tokenizer)
        pieces = list(_pieces(document.text, ends, max_tokens))
        if len(pieces) == 1:
            yield document
            continue
        for k, piece in enumerate(pieces):
            yield replace(document, id=f"{document.id}/{k}", text=piece)


def _token_ends(text: str, tokenizer: Any) -> list[int]:
    """The position in the text at which each token ends."""
    if tokenizer is None:
        return [found.end() for found in WORD.finditer(text)]
    # verbose=False: no warning about a text longer than the model reads, since it is cut here.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [end for _, end in encoded["offset_mapping"]]


def _pieces(text: str, ends: list[int], max_tokens: int) -> Iterator[str]:
    start = first = 0
    while first + max_tokens < len(ends):
        middle, last = ends[first + (max_tokens - 1) // 2], ends[first + max_tokens - 1]
        end = max(_last_break(text, start, middle, last), start + 1)
        yield text[start:end]
        start = end
        while first < len(ends) and ends[first] <= start:
            first += 1
    yield text[start:]


def _last_break(text: str, start: int, low: int, high: int) -> int:
    """The last position in ``[low, high]`` at which the text is best cut; ``high`` if none is."""
    for pattern in BREAKS:
        found = [match.end() for match in pattern.finditer(text, start, high) if match.end() >= low]
        if found:
            return found[-1]
    return high
