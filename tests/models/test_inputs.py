from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from reason_decode.models.inputs import input_device, learned_positions, max_positions, pad_rows

ROWS = [[5, 6, 7], [8], []]


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("right", [[5, 6, 7], [8, 9, 9], [9, 9, 9]], [[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
        ("left", [[5, 6, 7], [9, 9, 8], [9, 9, 9]], [[1, 1, 1], [0, 0, 1], [0, 0, 0]]),
    ],
)
def test_pads_and_masks_the_given_side(side, ids, mask):
    found = pad_rows(ROWS, side=side, value=9)
    assert [x.tolist() for x in found] == [ids, mask]
    assert [x.dtype for x in found] == [torch.int64, torch.int64]


def test_rows_of_padding_values_are_not_masked():
    ids, mask = pad_rows([[0, 1], [0]], side="right")
    assert ids.tolist() == [[0, 1], [0, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_tensors_and_lists_are_padded_alike(side):
    expected = pad_rows(ROWS, side=side, value=-100)
    found = pad_rows([torch.tensor(row, dtype=torch.int32) for row in ROWS], side=side, value=-100)
    for x, y in zip(found, expected, strict=True):
        assert torch.equal(x, y)
        assert x.dtype == y.dtype


def test_pad_rows_rejects_an_empty_batch():
    with pytest.raises(ValueError, match="no rows"):
        pad_rows([], side="left")


WIDTH: dict[str, Any] = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1}
HEADS: dict[str, Any] = {"num_attention_heads": 1, "max_position_embeddings": 40}


def llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**WIDTH, **HEADS, intermediate_size=8))


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=1, n_positions=40))


def opt() -> PreTrainedModel:
    return OPTForCausalLM(OPTConfig(**WIDTH, **HEADS, ffn_dim=8, word_embed_proj_dim=8))


def bert() -> PreTrainedModel:
    return BertModel(BertConfig(**WIDTH, **HEADS, intermediate_size=8))


def mamba() -> PreTrainedModel:
    return MambaForCausalLM(MambaConfig(**WIDTH))


@pytest.mark.parametrize(
    ("make", "positions", "learned"),
    [(llama, 40, None), (gpt2, 40, 40), (opt, 40, 40), (bert, 40, 40), (mamba, None, None)],
    ids=["rotary", "gpt2", "opt", "bert", "none"],
)
def test_positions_of(make, positions, learned):
    model = make()
    assert max_positions(model) == positions
    assert learned_positions(model) == learned


def test_a_vocabulary_as_large_as_the_positions_is_no_table_of_positions():
    model = LlamaForCausalLM(
        LlamaConfig(**{**WIDTH, "vocab_size": 40}, **HEADS, intermediate_size=8)
    )
    assert learned_positions(model) is None


def test_learned_positions_end_where_the_model_fails():
    model: Any = gpt2()
    assert model(torch.zeros(1, 40, dtype=torch.long)).logits.shape[1] == 40
    with pytest.raises(IndexError):
        model(torch.zeros(1, 41, dtype=torch.long))


@pytest.mark.parametrize(("own", "expected"), [("cpu", "cpu"), ("meta", "cpu"), ("cuda", "cuda")])
def test_inputs_of_an_offloaded_model_go_to_the_cpu(own, expected):
    model: Any = SimpleNamespace(device=torch.device(own))
    assert input_device(model) == torch.device(expected)
