"""Random models in folders, with tiny's tokenizer: small enough to be trained in a test."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from reason_decode import tiny

_SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48}


def save_llama(folder: Path) -> Path:
    """The folder, with a Llama of two layers and half as many key heads."""
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return _save(
        folder, LlamaForCausalLM, LlamaConfig(num_hidden_layers=2, **_SMALL, **heads, **ids)
    )


def save_bert(folder: Path) -> Path:
    """The folder, with a Bert of one layer and without dropout."""
    never: dict[str, Any] = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    heads: dict[str, Any] = {"num_attention_heads": 2}
    return _save(folder, BertModel, BertConfig(num_hidden_layers=1, **_SMALL, **heads, **never))


def _save(folder: Path, kind: type[PreTrainedModel], config: PretrainedConfig) -> Path:
    words = tiny.load().tokenizer
    config.vocab_size = len(words)
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
