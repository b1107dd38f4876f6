import sys

import pytest
import torch

from reason_decode.mining import (
    Document,
    Dropped,
    prefilter,
    reference_embedding,
    sentence_embedder,
)

AXES = {"x": [1.0, 0.0], "y": [0.0, 5.0], "between": [3.0, 3.0], "zero": [0.0, 0.0]}
AXES["nan"] = [float("nan"), 1.0]


def embed(texts: list[str]) -> list[list[float]]:
    return [AXES[text] for text in texts]


def documents(*names: str) -> list[Document]:
    return [Document(name, "s", name) for name in names]


def test_the_reference_is_the_mean_of_directions_not_of_lengths():
    assert reference_embedding(["x", "y"], embed, batch_size=1).tolist() == pytest.approx(
        [0.5**0.5] * 2
    )
    with pytest.raises(ValueError, match="got 0 reference texts"):
        reference_embedding([], embed)


def test_similarity_is_to_the_nearest_set():
    sets = {"x": reference_embedding(["x"], embed), "y": reference_embedding(["y"], embed)}
    found = list(prefilter(documents("x", "y", "between"), sets, embed, batch_size=2))
    assert [x.similarity for x in found if isinstance(x, Document)] == pytest.approx(
        [1.0, 1.0, 0.5**0.5]
    )
    kept, *dropped = prefilter(documents("x", "y", "zero", "nan"), {"x": sets["x"]}, embed)
    assert kept.id == "x" if isinstance(kept, Document) else False
    assert [(x.reason, x.document.similarity) for x in dropped if isinstance(x, Dropped)] == [
        ("the similarity is below the threshold", 0.0),
        ("the similarity is below the threshold", 0.0),
        ("the similarity is not a number", None),
    ]


def test_rejects_embeddings_of_wrong_shape():
    with pytest.raises(ValueError, match="width 2 and references of width 3"):
        list(prefilter(documents("x"), {"r": torch.ones(3)}, embed))
    with pytest.raises(ValueError, match="need one row per text"):
        list(prefilter(documents("x"), {"r": torch.ones(2)}, lambda texts: [1.0]))
    with pytest.raises(ValueError, match="got 0 references"):
        prefilter(documents("x"), {}, embed)


def test_an_embedder_that_is_not_installed_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reason-decode\[embeddings\]'"):
        sentence_embedder("all-MiniLM-L6-v2")
