"""Every strategy on every kind of model: n=1 is plain generation, batched and one by one."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from reason_decode import (
    BestOfN,
    RationaleGuided,
    RationaleScorer,
    SelfConsistency,
    StepSearch,
)
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

# Windows are shorter than the prompts, so that a lost token outside the window would be noticed.
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 6},
    "gemma3_text": {
        "head_dim": 8,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2},
    "phi3": {},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 32},
    "falcon": {"alibi": False},
    "mixtral": {"num_local_experts": 3},
    "qwen3_moe": {"head_dim": 8, "num_experts": 3, "num_experts_per_tok": 2},
}
UNCROPPABLE: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"], "head_dim": 8},
}
PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
STRATEGIES = ("best-of-n", "self-consistency", "step-search", "rationale-guided")


def _model(kind: str, tiny: Tiny) -> PreTrainedModel:
    shape: dict[str, Any] = {
        "vocab_size": len(tiny.tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if kind == "gpt2":
        shape = {k: shape[k] for k in ("vocab_size", "pad_token_id", "bos_token_id")}
    config = AutoConfig.for_model(kind, **shape, **(KINDS | UNCROPPABLE)[kind])
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(config).eval()
        for x in model.parameters():
            if x.dim() > 1:
                nn.init.normal_(x, std=0.2)
    return model


def _strategy(name: str, tiny: Tiny, n: int) -> Strategy:
    words = tiny.tokenizer
    if name == "best-of-n":
        return BestOfN(tiny.prm, tokenizer=words, n=n)
    if name == "self-consistency":
        return SelfConsistency(tokenizer=words, n=n)
    if name == "step-search":
        return StepSearch(tiny.prm, tokenizer=words, n=n, beam_width=n)
    writer = RationaleWriter(tiny.model, words, chat=False, max_new_tokens=4)
    return RationaleGuided(RationaleScorer(writer, chat=False), tokenizer=words, n=n)


def _generate(tiny: Tiny, model: Any, prompts: list[str], **how: Any) -> list[list[int]]:
    """New ids of each prompt; newlines are made likely, so that steps end."""
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    torch.manual_seed(0)
    out = model.generate(
        **inputs, max_new_tokens=24, pad_token_id=0, sequence_bias=[[[newline], 6.0]], **how
    )
    new = out[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(0)] if 0 in row else row for row in new]


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_candidate_is_plain_generation_alone_and_in_a_batch(
    tiny: Tiny, kind: str, name: str
) -> None:
    model, one = _model(kind, tiny), _strategy(name, tiny, 1)
    plain = _generate(tiny, model, PROMPTS, do_sample=False)
    assert _generate(tiny, model, PROMPTS, do_sample=False, custom_generate=one) == plain
    for prompt, ids in zip(PROMPTS, plain, strict=True):
        alone = _generate(tiny, model, [prompt], do_sample=False, custom_generate=one)
        assert alone == [ids] == _generate(tiny, model, [prompt], do_sample=False)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("kind", KINDS)
def test_branches_continue_as_from_a_fresh_cache(tiny: Tiny, kind: str, name: str) -> None:
    """At almost zero temperature a search returns the tokens of greedy decoding."""
    model, many = _model(kind, tiny), _strategy(name, tiny, 3)
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    torch.manual_seed(0)
    out: Any = model
    out = out.generate(
        **inputs,
        max_new_tokens=24,
        do_sample=True,
        temperature=1e-4,
        top_k=0,
        sequence_bias=[[[newline], 6.0]],
        pad_token_id=0,
        custom_generate=many,
        return_dict_in_generate=True,
    )
    plain = _generate(tiny, model, PROMPTS, do_sample=False)
    for row, ids in zip(
        out.sequences[:, inputs["input_ids"].shape[1] :].tolist(), plain, strict=True
    ):
        assert row[: len(ids)] == ids


@pytest.mark.parametrize("kind", UNCROPPABLE)
def test_rejects_caches_that_cannot_be_branched_with_the_reason(tiny: Tiny, kind: str) -> None:
    model = _model(kind, tiny)
    for name in STRATEGIES:
        with pytest.raises(ValueError, match="branches the key-value cache"):
            _generate(
                tiny, model, PROMPTS, do_sample=True, custom_generate=_strategy(name, tiny, 2)
            )
