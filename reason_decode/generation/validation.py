"""Checks of a ``generate`` call, made before any forward pass.

``generate(custom_generate=...)`` itself would drop unsupported options without a word, or fail
late: with an index error on a CPU, with an assertion that ends the process on a GPU.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.cache_utils import Cache

from reason_decode.models.positions import learned_positions

__all__ = ["check_logits", "validate_generate_call"]

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
    _check_options(strategy_name, config)
    if kwargs.get("inputs_embeds") is not None:
        raise ValueError(
            f"{strategy_name} reads the prompt's tokens; pass input_ids, not inputs_embeds"
        )
    _check_ids(strategy_name, model, input_ids)
    _check_mask(strategy_name, input_ids, kwargs.get("attention_mask"))
    _check_length(strategy_name, model, input_ids, config)
    _check_cache(strategy_name, kwargs)


def check_logits(strategy_name: str, values: Tensor, generated: int) -> None:
    """Raise if the scores of a row hold NaN or infinity, or rule out every token.

    Args:
        strategy_name: the strategy's class name, for the error message.
        values: (r,), one value of each row that is NaN or infinite exactly if its scores are: a
            probability, or the best score.
        generated: number of tokens that the rows already have.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        raise ValueError(
            f"{strategy_name} got scores for token {generated + 1} that hold NaN or "
            f"infinity, or rule out every token, in row {int(bad[0])}; check the model's weights "
            "and dtype (float16 overflows where bfloat16 does not), a temperature next to 0, and "
            "the logits processors"
        )


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


def _check_ids(strategy_name: str, model: PreTrainedModel, input_ids: Tensor) -> None:
    """Raise unless the prompts hold tokens, all of them in the model's vocabulary."""
    if input_ids.dim() != 2 or not input_ids.numel():
        raise ValueError(
            f"{strategy_name} got input_ids of shape {tuple(input_ids.shape)}; pass at least one "
            "prompt with at least one token, of shape (prompts, tokens)"
        )
    if input_ids.is_floating_point():
        raise ValueError(
            f"{strategy_name} got input_ids of {input_ids.dtype}; pass whole numbers (int64)"
        )
    config: Any = model.config.get_text_config()
    vocabulary = getattr(config, "vocab_size", None)
    least, most = (int(x) for x in input_ids.aminmax())
    if least < 0 or (vocabulary is not None and most >= vocabulary):
        raise ValueError(
            f"{strategy_name} got the token ids {least} to {most} in input_ids; "
            f"{type(model).__name__} has {vocabulary} tokens, from 0: tokenize with the model's "
            "own tokenizer"
        )


def _check_mask(strategy_name: str, input_ids: Tensor, mask: Any) -> None:
    """Raise unless every prompt has tokens, with padding on their left only."""
    if not isinstance(mask, Tensor):
        return
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"{strategy_name} got an attention_mask of shape {tuple(mask.shape)} for input_ids of "
            f"{tuple(input_ids.shape)}; pass one entry for each token, as the tokenizer returns it"
        )
    if empty := (~mask.bool().any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(
            f"{strategy_name} got an attention_mask without a 1 in row {empty[0]}; every prompt "
            "needs a token"
        )
    # A 1 followed by a 0 is right padding or a hole.
    if bool((mask[:, 1:] < mask[:, :-1]).any()):
        raise ValueError(
            f"{strategy_name} got prompts with padding after or between their tokens; prompts are "
            "continued at their right end: pad on the left (padding_side='left')"
        )


def _check_length(
    strategy_name: str, model: PreTrainedModel, input_ids: Tensor, config: GenerationConfig
) -> None:
    """Raise if the longest continuation is longer than the model's table of positions."""
    positions = learned_positions(model)
    if positions is not None and int(config.max_length) > positions:
        width = input_ids.shape[1]
        raise ValueError(
            f"{strategy_name} was asked for up to {int(config.max_length) - width} tokens after "
            f"{width}; {type(model).__name__} has a table of {positions} positions only: pass "
            f"max_new_tokens of at most {max(positions - width, 0)}, or shorter prompts"
        )


def _check_cache(strategy_name: str, kwargs: dict[str, Any]) -> None:
    """Raise unless there is a key-value cache whose rows can be selected."""
    cache = kwargs.get("past_key_values")
    if not kwargs.get("use_cache", True) or not hasattr(cache, "batch_select_indices"):
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {type(cache).__name__} with "
            f"use_cache={kwargs.get('use_cache')}. Allowed are caches with batch_select_indices "
            "(DynamicCache): leave cache_implementation unset and use_cache=True"
        )
    if isinstance(cache, Cache) and not all(
        hasattr(x, "batch_select_indices") for x in cache.layers
    ):
        kinds = sorted({type(layer).__name__ for layer in cache.layers})
        raise ValueError(
            f"{strategy_name} branches the key-value cache; got {type(cache).__name__} of "
            f"{', '.join(kinds)}, which cannot be branched. Leave cache_implementation unset, or "
            "use an attention-only model"
        )
