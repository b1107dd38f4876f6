"""Which documents are like those that are looked for, by the embeddings of their texts."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from reason_decode.mining.documents import Document, Dropped

__all__ = ["Embed", "prefilter", "reference", "sentence_embedder"]

Embed = Callable[[list[str]], Any]


def prefilter(
    documents: Iterable[Document],
    references: Mapping[str, Tensor],
    embed: Embed,
    *,
    threshold: float = 0.3,
    batch: int = 64,
) -> Iterator[Document | Dropped]:
    """Each document with its similarity, set aside if that is below the threshold.

    The similarity is ``max_r cos(embed(text), r)`` over the references.

    Args:
        documents: any number; read as results are asked for.
        references: set name -> (h,); see ``reference``.
        embed: texts -> (n, h), of any kind that torch makes a tensor of.
        threshold: a cosine. The default is the paper's code's for MiniLM and MPNet embeddings;
            other embeddings have other scales.
        batch: documents to a call of ``embed``.

    Raises:
        ValueError: no reference, a threshold that is no cosine, or embeddings of a wrong shape.

    Source: RATIONALYST, section 3 (arXiv 2410.01044; prefilter_with_MiniLM.py at be0b1cf), where
    all sets are pooled to one reference.

    Example:
        >>> from reason_decode.mining import Document, prefilter, reference
        >>> embed = lambda texts: [[text.count("1"), text.count("a")] for text in texts]
        >>> near = {"sums": reference(["1 + 1"], embed)}
        >>> found = prefilter([Document("1", "web", "11"), Document("2", "web", "a")], near, embed)
        >>> [type(x).__name__ for x in found]
        ['Document', 'Dropped']
    """
    if not references or not -1 <= threshold <= 1:
        raise ValueError(
            f"got {len(references)} references and threshold={threshold}; need at least one "
            "reference and a cosine, from -1 to 1"
        )
    return _prefilter(documents, torch.stack(list(references.values())), embed, threshold, batch)


def _prefilter(
    documents: Iterable[Document], references: Tensor, embed: Embed, threshold: float, batch: int
) -> Iterator[Document | Dropped]:
    waiting = iter(documents)
    while group := list(islice(waiting, batch)):
        embedded = _unit(embed([document.text for document in group]), len(group))
        if embedded.shape[1] != references.shape[1]:
            raise ValueError(
                f"got embeddings of width {embedded.shape[1]} and references of width "
                f"{references.shape[1]}; embed both with the same model"
            )
        for document, score in zip(
            group, (embedded @ references.T).amax(dim=1).tolist(), strict=True
        ):
            if math.isnan(score):
                yield Dropped(document, "prefilter", "the similarity is not a number")
            elif score < threshold:
                told = replace(document, similarity=score)
                yield Dropped(told, "prefilter", "the similarity is below the threshold")
            else:
                yield replace(document, similarity=score)


def reference(texts: Iterable[str], embed: Embed, *, batch: int = 64) -> Tensor:
    """What documents are compared to: the mean of normalised embeddings, normalised, (h,).

    Args:
        texts: a set of what is looked for, such as a training set's problems.
        embed: as for ``prefilter``.
        batch: texts to a call of ``embed``.

    Raises:
        ValueError: no texts, or embeddings that cancel out.

    Example:
        >>> from reason_decode.mining import reference
        >>> reference(["a", "b"], lambda texts: [[3.0, 4.0] for _ in texts]).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    total, count, waiting = torch.zeros(()), 0, iter(texts)
    while group := list(islice(waiting, batch)):
        total = total + _unit(embed(group), len(group)).sum(dim=0)
        count += len(group)
    if not count or not 0 < float(total.norm()) < math.inf:
        raise ValueError(
            f"got {count} reference texts whose embeddings add up to nothing; give texts of the "
            "kind that is looked for, and an embedder that tells texts apart"
        )
    return total / total.norm()


def sentence_embedder(name: str, *, batch: int = 64) -> Embed:
    """``embed`` by a sentence-transformers model; it reads as much of a text as that model does.

    Args:
        name: such as ``sentence-transformers/all-MiniLM-L6-v2``, or a folder.
        batch: texts to a forward pass.

    Raises:
        ModuleNotFoundError: sentence-transformers is not installed.

    Example:
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
        texts, batch_size=batch, convert_to_tensor=True, show_progress_bar=False
    )


def _unit(embedded: Any, count: int) -> Tensor:
    found = torch.as_tensor(embedded, dtype=torch.float32).cpu()
    if found.ndim != 2 or len(found) != count:
        raise ValueError(
            f"got embeddings of shape {tuple(found.shape)} for {count} texts; need one row a text"
        )
    return torch.nn.functional.normalize(found, dim=1)
