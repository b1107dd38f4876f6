"""Near-duplicate removal, and decontamination against evaluation sets."""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from reason_decode.mining.documents import Document, Dropped

__all__ = ["decontaminate", "dedup"]

WORD = re.compile(r"\w+")
MIN_WORDS = 5  # of an evaluation item; "yes" would be found in most documents


def dedup(
    documents: Iterable[Document],
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
) -> Iterator[Document | Dropped]:
    """Stage that drops near duplicates of earlier documents, found by MinHash.

    Two documents are near duplicates if the estimated Jaccard similarity ``|A & B| / |A | B|`` of
    their word n-grams is at least ``threshold``. The signatures of all documents that pass stay in
    memory, a few KB each.

    Args:
        documents: any number; read as results are asked for.
        threshold: Jaccard similarity, in (0, 1].
        ngram: words per n-gram.
        permutations: hash functions per signature; more of them estimate better and cost more.

    Raises:
        ValueError: a threshold out of range, or a number that is too small.
        ModuleNotFoundError: datasketch, which computes the signatures, is not installed.

    Source: MinHash and locality-sensitive hashing by datasketch; Lee et al. 2021, 2107.06499.

    Examples:
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
        datasketch: Any = import_module("datasketch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "dedup needs datasketch: pip install 'reason-decode[mining]'"
        ) from error
    return _dedup(documents, datasketch, threshold, ngram, permutations)


def _dedup(
    documents: Iterable[Document], datasketch: Any, threshold: float, ngram: int, permutations: int
) -> Iterator[Document | Dropped]:
    index = datasketch.MinHashLSH(threshold=threshold, num_perm=permutations)
    signatures: list[Any] = []
    names: list[str] = []
    for document in documents:
        grams = {" ".join(gram) for gram in _ngrams(document.text, ngram)}
        signature = datasketch.MinHash(num_perm=permutations, seed=1)
        signature.update_batch([gram.encode() for gram in sorted(grams)])
        # Documents in a common bucket may be less similar than the threshold; compare signatures.
        candidates = sorted(index.query(signature))
        same = next((k for k in candidates if signature.jaccard(signatures[k]) >= threshold), None)
        if same is not None:
            yield Dropped(document, "dedup", f"near duplicate: {names[same]}")
            continue
        index.insert(len(names), signature, check_duplication=False)
        signatures.append(signature)
        names.append(f"{document.id} of {document.source}")
        yield document


def decontaminate(
    documents: Iterable[Document], against: Iterable[str], *, ngram: int = 13
) -> Iterator[Document | Dropped]:
    """Stage that drops documents with ``ngram`` consecutive words of an evaluation item.

    An item with fewer words, but at least 5, has to be contained as a whole. Case and punctuation
    are ignored.

    Args:
        documents: any number; read as results are asked for.
        against: texts of the evaluation items; read at once, and kept as a set of n-grams.
        ngram: number of consecutive words.

    Raises:
        ValueError: an n-gram of less than 1 word.

    Source: Brown et al. 2020, 2005.14165, appendix C, with 13 words. datatrove's steps for the same
    need an index on disk and a tokenizer per language; a set in memory does here.

    Examples:
        >>> from reason_decode.mining import Document, decontaminate
        >>> documents = [Document("1", "web", "Tom, what is 2+3? It's 5!")]
        >>> [x.reason for x in decontaminate(documents, ["Tom, what is 2 + 3?"])]
        ["contaminated: 'tom what is 2 3'"]
    """
    if ngram < 1:
        raise ValueError(f"got ngram={ngram}; need at least 1 word")
    known: dict[int, set[tuple[str, ...]]] = {}
    for text in against:
        for gram in _ngrams(text, ngram):
            if len(gram) >= min(MIN_WORDS, ngram):
                known.setdefault(len(gram), set()).add(gram)
    return _decontaminate(documents, known)


def _decontaminate(
    documents: Iterable[Document], known: dict[int, set[tuple[str, ...]]]
) -> Iterator[Document | Dropped]:
    for document in documents:
        words = WORD.findall(document.text.lower())
        found = next(
            (
                gram
                for size, grams in sorted(known.items())
                for k in range(len(words) - size + 1)
                if (gram := tuple(words[k : k + size])) in grams
            ),
            None,
        )
        if found is None:
            yield document
        else:
            yield Dropped(document, "decontaminate", f"contaminated: {' '.join(found)!r}")


def _ngrams(text: str, size: int) -> Iterator[tuple[str, ...]]:
    """The word n-grams of a text; all its words as one n-gram if they are fewer than ``size``."""
    words = WORD.findall(text.lower())
    for k in range(max(len(words) - size, 0) + 1):
        yield tuple(words[k : k + size])
