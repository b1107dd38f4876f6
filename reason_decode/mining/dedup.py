"""Documents that are nearly the same as an earlier one, and those that hold a test's items."""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from reason_decode.mining.documents import Document, Dropped

__all__ = ["decontaminate", "dedup"]

WORD = re.compile(r"\w+")
SHORTEST = 5  # words; a test item of "yes" would be found in most documents


def dedup(
    documents: Iterable[Document],
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
) -> Iterator[Document | Dropped]:
    """Each document, set aside if one before it has nearly the same words.

    Nearly: an estimated ``|A & B| / |A | B|`` of at least ``threshold``, of their n-grams of words.
    The signatures of all documents that are kept stay in memory: a few KB each.

    Args:
        documents: any number; read as results are asked for.
        threshold: a Jaccard similarity, in (0, 1].
        ngram: words to an n-gram.
        permutations: more estimate better, and cost more.

    Raises:
        ValueError: a threshold out of range, or a number below 1.
        ModuleNotFoundError: datasketch, which hashes, is not installed.

    Source: MinHash and locality-sensitive hashing by datasketch; Lee et al. 2021, 2107.06499.

    Example:
        >>> from reason_decode.mining import Document, dedup
        >>> twice = [Document(name, "web", "It rains in May.") for name in "ab"]
        >>> [type(x).__name__ for x in dedup(twice)]
        ['Document', 'Dropped']
    """
    if not 0 < threshold <= 1 or ngram < 1 or permutations < 2:
        raise ValueError(
            f"got threshold={threshold}, ngram={ngram}, permutations={permutations}; need a share "
            "above 0 and at most 1, at least 1, and at least 2"
        )
    try:
        library: Any = import_module("datasketch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "dedup needs datasketch: pip install 'reason-decode[mining]'"
        ) from error
    return _dedup(documents, library, threshold, ngram, permutations)


def _dedup(
    documents: Iterable[Document], library: Any, threshold: float, ngram: int, permutations: int
) -> Iterator[Document | Dropped]:
    index = library.MinHashLSH(threshold=threshold, num_perm=permutations)
    signatures: list[Any] = []
    names: list[str] = []
    for document in documents:
        grams = {" ".join(gram) for gram in _grams(document.text, ngram)}
        signature = library.MinHash(num_perm=permutations, seed=1)
        signature.update_batch([gram.encode() for gram in sorted(grams)])
        # Those that share a bucket may be less alike than asked for; the signatures tell.
        near = sorted(index.query(signature))
        same = next((k for k in near if signature.jaccard(signatures[k]) >= threshold), None)
        if same is not None:
            yield Dropped(document, "dedup", f"near duplicate: {names[same]}")
            continue
        index.insert(len(names), signature, check_duplication=False)
        signatures.append(signature)
        names.append(f"{document.id} of {document.source}")
        yield document


def decontaminate(
    documents: Iterable[Document], tests: Iterable[str], *, ngram: int = 13
) -> Iterator[Document | Dropped]:
    """Each document, set aside if it shares ``ngram`` words in a row with a test item.

    Of items with fewer words, all of them in a row, from 5 on. Case and signs don't matter.

    Args:
        documents: any number; read as results are asked for.
        tests: what a model will be evaluated on; read at once, and kept as hashes.
        ngram: words in a row.

    Raises:
        ValueError: an n-gram of less than 1 word.

    Source: Brown et al. 2020, 2005.14165, appendix C, with 13 words. Written here, since a set does
    it; datatrove's steps for it want an index on disk and a language's tokenizer.

    Example:
        >>> from reason_decode.mining import Document, decontaminate
        >>> documents = [Document("1", "web", "Tom, what is 2+3? It's 5!")]
        >>> [x.reason for x in decontaminate(documents, ["Tom, what is 2 + 3?"])]
        ["contaminated: 'tom what is 2 3'"]
    """
    if ngram < 1:
        raise ValueError(f"got ngram={ngram}; need at least 1 word")
    held: dict[int, set[tuple[str, ...]]] = {}
    for text in tests:
        for gram in _grams(text, ngram):
            if len(gram) >= min(SHORTEST, ngram):
                held.setdefault(len(gram), set()).add(gram)
    return _decontaminate(documents, held)


def _decontaminate(
    documents: Iterable[Document], held: dict[int, set[tuple[str, ...]]]
) -> Iterator[Document | Dropped]:
    for document in documents:
        words = WORD.findall(document.text.lower())
        found = next(
            (
                gram
                for size, grams in sorted(held.items())
                for k in range(len(words) - size + 1)
                if (gram := tuple(words[k : k + size])) in grams
            ),
            None,
        )
        if found is None:
            yield document
        else:
            yield Dropped(document, "decontaminate", f"contaminated: {' '.join(found)!r}")


def _grams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of words; all words as one, where they are fewer."""
    words = WORD.findall(text.lower())
    for k in range(max(len(words) - size, 0) + 1):
        yield tuple(words[k : k + size])
