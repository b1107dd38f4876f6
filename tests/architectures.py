"""Tiny random models of the architectures that people decode with."""

from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT: dict[str, Any] = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256}
# Windows are shorter than the prompts, so that a lost token outside the window would be noticed.
_WINDOW: dict[str, Any] = {
    "sliding_window": 6,
    "layer_types": ["sliding_attention", "full_attention"],
}
_SHARED_KEYS: dict[str, Any] = {
    "sliding_window": 6,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "head_dim": 8,
    "hidden_size_per_layer_input": 8,
}
_LATENT: dict[str, Any] = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 16,
    "num_key_value_heads": 4,
}
_MAMBA2: dict[str, Any] = {
    "mamba_d_state": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
_JAMBA: dict[str, Any] = {
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
}
_DELTA: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_EXPERTS: dict[str, Any] = {
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}

ATTENTION: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 6},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "phi": {},
    "phi3": {},
    "gemma2": {"head_dim": 8, **_WINDOW},
    "gemma3_text": {"head_dim": 8, **_WINDOW},
    "cohere": {},
    "cohere2": _WINDOW,
    "olmo2": {},
    "granite": {"logits_scaling": 2.0},
    "stablelm": {},
    "starcoder2": {},
    "smollm3": {},
    "glm4": {"head_dim": 8},
    "exaone4": _WINDOW,
    "ernie4_5": {"head_dim": 8},
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "codegen": {**_GPT, "rotary_dim": 4, "n_ctx": 256},
    "gptj": {**_GPT, "rotary_dim": 4},
    "gpt_neo": {
        "attention_types": [[["global", "local"], 1]],
        "num_layers": 2,
        "num_heads": 4,
        "window_size": 6,
    },
    "gpt_neox": {},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 2, "n_head": 4},
    "falcon": {"alibi": False},
    "mixtral": {"num_local_experts": 3},
    "qwen3_moe": {"head_dim": 8, "num_experts": 3, "num_experts_per_tok": 2},
    "deepseek_v3": _LATENT,
    "llama4_text": {
        "head_dim": 8,
        "intermediate_size_mlp": 32,
        "num_local_experts": 2,
        "attention_chunk_size": 8,
    },
}
"""Models whose cache holds keys and values of each position."""

AXES: dict[str, dict[str, Any]] = {"qwen2_vl": {}, "qwen2_5_vl": {}, "qwen3_vl": {}}
"""Models of images and text, whose position ids have axes in front of the rows; used with text."""

SHARED: dict[str, dict[str, Any]] = {
    "gemma3n_text": {
        **_SHARED_KEYS,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4,
        "intermediate_size": [32] * 4,
    },
    "gemma4_text": {**_SHARED_KEYS, "global_head_dim": 8},
}
"""Models whose last layers use the keys of earlier ones."""

RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4},
    "mamba2": {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8},
    "falcon_mamba": {"state_size": 4},
    "jamba": _JAMBA,
    "zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["mamba", "hybrid", "mamba"],
        "mamba_d_state": 8,
        "n_mamba_heads": 4,
        "mamba_ngroups": 1,
        "chunk_size": 8,
        "num_key_value_heads": 4,
        "adapter_rank": 4,
    },
    "bamba": {**_MAMBA2, "attn_layer_indices": [1]},
    "granitemoehybrid": {
        **_MAMBA2,
        "layer_types": ["mamba", "attention"],
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "shared_intermediate_size": 16,
    },
    "falcon_h1": {**_MAMBA2, "mamba_d_ssm": 64, "head_dim": 8},
    "nemotron_h": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "attention", "moe", "mlp"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 8,
        "head_dim": 8,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 16,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "qwen3_next": {**_DELTA, **_EXPERTS},
    "qwen3_5_text": _DELTA,
    "qwen3_5": _DELTA,
    "olmo_hybrid": {**_DELTA, "linear_num_value_heads": 2},
}
"""Models with recurrent layers, whose states are copied."""

REREAD: dict[str, dict[str, Any]] = {
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "head_dim": 8},
    "minimax": {
        "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 8,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "block_size": 8,
    },
    "glm_moe_dsa": {**_LATENT, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 64},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256},
    "openai-gpt": _GPT,
}
"""Models whose state cannot be copied row by row: in modules, in a cache of their own, or none."""

ARCHITECTURES = {**ATTENTION, **AXES, **SHARED, **RECURRENT, **REREAD}
TOKEN_TYPES = ("gpt2", "gpt_bigcode", "codegen")
"""Models that add an embedding of each token's type."""

_VISION = {"depth": 1, "num_heads": 2, "patch_size": 14, "hidden_size": 16}
_VISION_OF: dict[str, dict[str, Any]] = {
    "qwen2_vl": {**_VISION, "embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2},
    "qwen2_5_vl": {
        **_VISION,
        "intermediate_size": 16,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [0],
    },
}
_OTHER_VISION: dict[str, Any] = {
    **_VISION,
    "intermediate_size": 16,
    "out_hidden_size": 32,
    "deepstack_visual_indexes": [],
}


@lru_cache(maxsize=4)
def random_model(kind: str, vocabulary: int) -> PreTrainedModel:
    """A random model of an architecture, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = _untrained(kind, vocabulary).eval()
        for x in model.parameters():
            if x.dim() > 1:
                nn.init.normal_(x, std=0.2)
    return model


def _untrained(kind: str, vocabulary: int) -> Any:
    own = ARCHITECTURES[kind]
    shape = {**_SHAPE, "vocab_size": vocabulary, **own}
    if kind in SHARED:
        shape["vocab_size_per_layer_input"] = vocabulary
    if own.items() >= _GPT.items():
        names = ("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", *own)
        shape = {name: shape[name] for name in names}
    if kind not in AXES and kind != "qwen3_5":
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    if kind == "qwen3_5":
        rope["partial_rotary_factor"] = 1.0
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    config = AutoConfig.for_model(
        kind,
        text_config={**shape, "head_dim": 8, "rope_parameters": rope},
        vision_config=_VISION_OF.get(kind, _OTHER_VISION),
        **{name: vocabulary - 4 - k for k, name in enumerate(names)},
    )
    return AutoModelForImageTextToText.from_config(config)
