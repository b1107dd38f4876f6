import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from reason_decode.processors.side_model import CachedSideModel, unpadded
from tests.tolerance import assert_close, roundings


def _rows(*rows: list[int]) -> list[Tensor]:
    return [torch.tensor(row) for row in rows]


def _check(
    side_model: CachedSideModel, model: LlamaForCausalLM, rows: list[Tensor], new: int
) -> None:
    """The logits equal those of uncached forward passes, and only ``new`` ids were read."""
    before = side_model.tokens_read
    logits = side_model.logits(rows)
    assert side_model.tokens_read == before + new
    for row, found in zip(rows, logits, strict=True):
        with torch.no_grad():
            uncached = model(row[None]).logits[0, -1]
        assert_close(found, uncached, terms=roundings(model))


@pytest.mark.numeric
def test_side_model_reads_only_the_new_ids_of_rows(tiny_llama: LlamaForCausalLM) -> None:
    side_model = CachedSideModel(tiny_llama, "test")
    _check(side_model, tiny_llama, _rows([5, 6, 7], [8, 9]), 5)
    _check(side_model, tiny_llama, _rows([5, 6, 7, 3], [8, 9, 4]), 2)
    # Reordered as beams are, with one row twice.
    _check(side_model, tiny_llama, _rows([8, 9, 4, 1], [5, 6, 7, 3, 2], [8, 9, 4, 5]), 3)
    # One row is dropped, one continues an earlier prefix by several ids.
    _check(side_model, tiny_llama, _rows([8, 9, 7, 7, 7], [5, 6, 7, 3, 2, 9]), 4)
    _check(side_model, tiny_llama, _rows([8, 9, 7, 7, 7, 2], [5, 6, 7, 3, 2, 9, 9]), 2)
    # A new generation.
    _check(side_model, tiny_llama, _rows([11, 12]), 2)
    _check(side_model, tiny_llama, _rows([11]), 1)


def test_unpadded_removes_padding_on_the_left_only() -> None:
    ids = torch.tensor([[0, 0, 5, 0, 6], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    assert [row.tolist() for row in unpadded(ids, 0)] == [[5, 0, 6], [1, 2, 3, 4, 5], [0]]
    assert [len(row) for row in unpadded(ids, None)] == [5, 5, 5]
