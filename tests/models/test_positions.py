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

from reason_decode.models.positions import learned_positions, max_positions

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
