"""Prefilter by embedding similarity: drops documents that resemble none of the reference sets."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from reason_decode.mining.documents import Document, Dropped

__all__ = ["Embed", "prefilter", "reference_embedding", "sentence_embedder"]

Embed = Callable[[list[str]], Any]
"""n texts -> embeddings (n, h), of any type that ``torch.as_tensor`` takes."""


def prefilter(
    documents: Iterable[Document],
    references: Mapping[str, Tensor],
    embed: Embed,
    *,
    min_similarity: float = 0.3,
    batch_size: int = 64,
) -> Iterator[Document | Dropped]:
    """Stage that sets each document's similarity, and drops those below ``min_similarity``.

    The similarity is ``max_r cos(embed(text), r)`` over the references r.

    Args:
        documents: any number; read as results are asked for.
        references: name of a reference set -> its embedding (h,); see ``reference_embedding``.
        embed: the embedder that the references were made with.
        min_similarity: a cosine. The default is that of the paper's code for MiniLM and MPNet
            embeddings; other embedders have other scales.
        batch_size: documents per call of ``embed``.

    Raises:
        ValueError: no reference, a threshold outside [-1, 1], or embeddings of a wrong shape.

    Source: RATIONALYST, section 3 (arXiv 2410.01044; prefilter_with_MiniLM.py at be0b1cf), where
    all sets are pooled into one reference.

    Examples:
        >>> from reason_decode.mining import Document, prefilter, reference_embedding
        >>> embed = lambda texts: [[text.count("1"), text.count("a")] for text in texts]
        >>> sets = {"sums": reference_embedding(["1 + 1"], embed)}
        >>> found = prefilter([Document("1", "web", "11"), Document("2", "web", "a")], sets, embed)
        >>> [type(x).__name__ for x in found]
        ['Document', 'Dropped']
    """
    if not references or not -1 <= min_similarity <= 1:
        raise ValueError(
            f"got {len(references)} references and min_similarity={min_similarity}; need at least "
            "one reference and a cosine, from -1 to 1"
        )
    stacked = torch.stack(list(references.values()))
    return _prefilter(documents, stacked, embed, min_similarity, batch_size)


def _prefilter(
    documents: Iterable[Document],
    references: Tensor,
    embed: Embed,
    min_similarity: float,
    batch_size: int,
) -> Iterator[Document | Dropped]:
    waiting = iter(documents)
    while batch := list(islice(waiting, batch_size)):
        embedded = _normalized(embed([document.text for document in batch]), len(batch))
        if embedded.shape[1] != references.shape[1]:
            raise ValueError(
                f"got embeddings of width {embedded.shape[1]} and references of width "
                f"{references.shape[1]}; embed both with the same model"
            )
        similarities = (embedded @ references.T).amax(dim=1).tolist()
        for document, similarity in zip(batch, similarities, strict=True):
            if math.isnan(similarity):
                yield Dropped(document, "prefilter", "the similarity is not a number")
                continue
            document = replace(document, similarity=similarity)
            if similarity < min_similarity:
                yield Dropped(document, "prefilter", "the similarity is below the threshold")
            else:
                yield document


def reference_embedding(texts: Iterable[str], embed: Embed, *, batch_size: int = 64) -> Tensor:
    """The normalized mean of the normalized embeddings of a reference set, (h,) float32.

    Args:
        texts: texts like those that are looked for, such as the problems of a training set.
        embed: n texts -> embeddings (n, h).
        batch_size: texts per call of ``embed``.

    Raises:
        ValueError: no texts, or embeddings that cancel out.

    Examples:
        >>> from reason_decode.mining import reference_embedding
        >>> reference_embedding(["a", "b"], lambda texts: [[3.0, 4.0] for _ in texts]).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    total, count, waiting = torch.zeros(()), 0, iter(texts)
    while batch := list(islice(waiting, batch_size)):
        total = total + _normalized(embed(batch), len(batch)).sum(dim=0)
        count += len(batch)
    if not count or not 0 < float(total.norm()) < math.inf:
        raise ValueError(
            f"got {count} reference texts whose embeddings add up to zero; give texts of the kind "
            "that is looked for, and an embedder that tells texts apart"
        )
    return total / total.norm()


def sentence_embedder(name: str, *, batch_size: int = 64) -> Embed:
    """An embedder by a sentence-transformers model, which truncates long texts at its own limit.

    Args:
        name: such as ``sentence-transformers/all-MiniLM-L6-v2``, or a folder.
        batch_size: texts per forward pass.

    Raises:
        ModuleNotFoundError: sentence-transformers is not installed.

    Examples:
        >>> from reason_decode.mining import sentence_embedder
        >>> embed = sentence_embedder("all-MiniLM-L6-v2")  # doctest: +SKIP
    """
    try:
        library: Any = import_module("sentence_transformers")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the embedder {name} needs sentence-transformers: pip install "
            "'reason-decode[embeddings]'; or pass a function texts -> (n, h)"
        ) from error
    model = library.SentenceTransformer(name)
    return lambda texts: model.encode(
        texts, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
    )


def _normalized(embedded: Any, count: int) -> Tensor:
    """Embeddings of ``count`` texts as unit vectors (count, h) float32 on the CPU."""
    found = torch.as_tensor(embedded, dtype=torch.float32).cpu()
    if found.ndim != 2 or len(found) != count:
        raise ValueError(
            f"got embeddings of shape {tuple(found.shape)} for {count} texts; need one row per text"
        )
    return torch.nn.functional.normalize(found, dim=1)
