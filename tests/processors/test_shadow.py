import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from reason_decode.processors.shadow import Shadow, unpadded
from tests.tolerance import assert_close, roundings


def _rows(*rows: list[int]) -> list[Tensor]:
    return [torch.tensor(row) for row in rows]


def _check(shadow: Shadow, model: LlamaForCausalLM, rows: list[Tensor], new: int) -> None:
    """The logits are those of reading each row anew, and only ``new`` ids were read for them."""
    before = shadow.tokens
    logits = shadow.logits(rows)
    assert shadow.tokens == before + new
    for row, found in zip(rows, logits, strict=True):
        with torch.no_grad():
            anew = model(row[None]).logits[0, -1]
        assert_close(found, anew, terms=roundings(model))


@pytest.mark.numeric
def test_rows_that_grow_branch_vanish_and_begin_anew(tiny_llama: LlamaForCausalLM) -> None:
    shadow = Shadow(tiny_llama, "test")
    _check(shadow, tiny_llama, _rows([5, 6, 7], [8, 9]), 5)
    _check(shadow, tiny_llama, _rows([5, 6, 7, 3], [8, 9, 4]), 2)
    # Reordered, one of them twice, as beams are.
    _check(shadow, tiny_llama, _rows([8, 9, 4, 1], [5, 6, 7, 3, 2], [8, 9, 4, 5]), 3)
    # One is dropped, one goes on from where it had been before, by more than a token.
    _check(shadow, tiny_llama, _rows([8, 9, 7, 7, 7], [5, 6, 7, 3, 2, 9]), 4)
    _check(shadow, tiny_llama, _rows([8, 9, 7, 7, 7, 2], [5, 6, 7, 3, 2, 9, 9]), 2)
    # Another generation.
    _check(shadow, tiny_llama, _rows([11, 12]), 2)
    _check(shadow, tiny_llama, _rows([11]), 1)


def test_only_the_padding_on_the_left_goes() -> None:
    ids = torch.tensor([[0, 0, 5, 0, 6], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]])
    assert [row.tolist() for row in unpadded(ids, 0)] == [[5, 0, 6], [1, 2, 3, 4, 5], [0]]
    assert [len(row) for row in unpadded(ids, None)] == [5, 5, 5]
