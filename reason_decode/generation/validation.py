"""Checks of a ``generate`` call, made before any forward pass.

``generate(custom_generate=...)`` itself would drop unsupported options without a word, or fail
late.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel

from reason_decode.generation.cache import has_rows, is_filled
from reason_decode.models.inputs import check_prompts

__all__ = ["validate_generate_call"]

# Options that choose another decoding method of transformers, and its name.
_OTHER_METHODS = {
    "penalty_alpha": "contrastive search",
    "dola_layers": "DoLa",
    "constraints": "constrained beams",
    "force_words_ids": "constrained beams",
    "prompt_lookup_num_tokens": "assisted decoding",
    "assistant_early_exit": "assisted decoding",
    "use_mtp": "assisted decoding",
}
_PER_TOKEN_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


def validate_generate_call(
    strategy_name: str,
    model: PreTrainedModel,
    input_ids: Tensor,
    config: GenerationConfig,
    kwargs: dict[str, Any],
) -> None:
    """Raise if a ``generate`` call asks for something that a strategy cannot do.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: the generator.
        input_ids: (b * k, t) int64, each prompt k = ``num_return_sequences`` times.
        config: the prepared generation config.
        kwargs: the model kwargs that ``generate`` prepared.

    Raises:
        ValueError: the model is no decoder-only model, or the prompts, the options or the cache are
            not supported.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(
            f"{strategy_name} works on decoder-only models; got {type(model).__name__}"
        )
    _check_model(strategy_name, model)
    _check_options(strategy_name, config)
    if kwargs.get("inputs_embeds") is not None:
        raise ValueError(
            f"{strategy_name} reads the prompt's tokens; pass input_ids, not inputs_embeds"
        )
    mask, max_length = kwargs.get("attention_mask"), int(config.max_length)
    check_prompts(strategy_name, model, input_ids, mask, max_length)
    _check_cache(strategy_name, kwargs)


def _check_options(strategy_name: str, config: GenerationConfig) -> None:
    """Raise if the config asks for another decoding method, or for outputs that are not kept."""
    if (config.num_beams or 1) > 1:
        raise ValueError(
            f"{strategy_name} does its own search; got num_beams={config.num_beams}, allowed is 1. "
            "Drop num_beams, or pass StepSearch(beam_width=...) for a beam over steps"
        )
    for name, method in _OTHER_METHODS.items():
        if value := getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} samples by itself; got {name}={value!r}, which asks for {method} "
                f"and would be ignored. Drop {name}, or custom_generate"
            )
    copies = config.num_return_sequences
    if copies is not None and copies < 1:
        raise ValueError(f"got num_return_sequences={copies}; need at least 1")
    for name in _PER_TOKEN_OUTPUTS:
        if getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} does not keep per-token {name.removeprefix('output_')}; got "
                f"{name}=True. Drop it: ReasoningOutput.traces has the candidates and their scores"
            )


def _check_model(strategy_name: str, model: PreTrainedModel) -> None:
    """Raise for a model without weights, or one that would switch its cache off."""
    # accelerate's hooks bring the weights of an offloaded model back when they are needed.
    offloaded = any("_hf_hook" in vars(module) for module in model.modules())
    if not offloaded and all(x.is_meta for x in model.parameters()):
        raise ValueError(
            f"{strategy_name} got a {type(model).__name__} on the meta device, which holds no "
            "numbers; load the weights, or call to_empty() and initialize them"
        )
    if model.training and model.is_gradient_checkpointing:
        raise ValueError(
            f"{strategy_name} got a {type(model).__name__} in training mode with gradient "
            "checkpointing, which switches the key-value cache off and would read each token "
            "without those before it; call model.eval(), or model.gradient_checkpointing_disable()"
        )


def _check_cache(strategy_name: str, kwargs: dict[str, Any]) -> None:
    """Raise for a cache that the caller has chosen, and whose rows cannot be copied.

    Of a model's own cache nothing is asked: where its rows cannot be copied, its state is made
    again by reading.
    """
    for cache in (kwargs.get("past_key_values"), kwargs.get("cache_params")):
        if cache is None or has_rows(cache):
            continue
        if type(cache) is DynamicCache and not cache.offloading and not is_filled(cache):
            continue
        kinds = ", ".join(sorted({type(layer).__name__ for layer in cache.layers}))
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {type(cache).__name__}"
            f"{f' of {kinds}' if kinds else ''}, whose rows it cannot copy. Leave "
            "cache_implementation unset, and pass no past_key_values or a DynamicCache"
        )
