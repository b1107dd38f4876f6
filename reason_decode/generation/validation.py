"""What a call of ``generate`` asks for that no strategy can do, found before any forward pass.

``generate`` accepts these for any callable and drops them without a word, or fails late: with an
index error on a CPU, with an assertion that ends the process on a GPU.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.cache_utils import Cache

from reason_decode.models.positions import learned_positions

__all__ = ["check_logits", "validate_generate_call"]

# Ways of decoding of the host's own, and what stands for each here.
_OTHER_WAYS = {
    "penalty_alpha": "contrastive search",
    "dola_layers": "DoLa",
    "constraints": "constrained beams",
    "force_words_ids": "constrained beams",
    "prompt_lookup_num_tokens": "assisted decoding",
    "assistant_early_exit": "assisted decoding",
    "use_mtp": "assisted decoding",
}
_KEPT = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


def validate_generate_call(
    need: str,
    model: PreTrainedModel,
    input_ids: Tensor,
    config: GenerationConfig,
    kwargs: dict[str, Any],
) -> None:
    """Raise if the call asks for what a strategy cannot do.

    Args:
        need: the strategy's name, for messages.
        model: as ``generate`` passes it.
        input_ids: likewise, (b * k, t).
        config: likewise.
        kwargs: likewise.

    Raises:
        ValueError: it does.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(f"{need} works on decoder-only models; got {type(model).__name__}")
    _check_way(need, config)
    if kwargs.get("inputs_embeds") is not None:
        raise ValueError(f"{need} reads the prompt's tokens; pass input_ids, not inputs_embeds")
    _check_ids(need, model, input_ids)
    _check_mask(need, input_ids, kwargs.get("attention_mask"))
    _check_room(need, model, input_ids, config)
    _check_cache(need, kwargs)


def check_logits(need: str, chosen: Tensor, told: int) -> None:
    """Raise if a row of scores held NaN or infinity, or nothing to choose from.

    Args:
        need: the strategy's name, for messages.
        chosen: of each row the probability or score of what was chosen, (r,): NaN or infinite
            exactly in such rows.
        told: tokens that the rows have been given before.

    Raises:
        ValueError: a row did.
    """
    bad = (~torch.isfinite(chosen)).nonzero()
    if len(bad):
        raise ValueError(
            f"{need} got scores for the next token (the one behind {told}) that hold NaN or "
            f"infinity, or rule out every token, in row {int(bad[0])}; check the model's weights "
            "and dtype (float16 overflows where bfloat16 does not), a temperature next to 0, and "
            "the logits processors"
        )


def _check_way(need: str, config: GenerationConfig) -> None:
    """Raise if the host is asked to decode in a way of its own too, or to keep what is not kept."""
    if (config.num_beams or 1) > 1:
        raise ValueError(
            f"{need} does its own search; got num_beams={config.num_beams}, allowed is 1. "
            "Drop num_beams, or pass StepSearch(beam_width=...) for a beam over steps"
        )
    for name, way in _OTHER_WAYS.items():
        if value := getattr(config, name, None):
            raise ValueError(
                f"{need} samples by itself; got {name}={value!r}, which asks for {way} and would "
                f"be ignored. Drop {name}, or custom_generate"
            )
    copies = config.num_return_sequences
    if copies is not None and copies < 1:
        raise ValueError(f"got num_return_sequences={copies}; need at least 1")
    for name in _KEPT:
        if getattr(config, name, None):
            raise ValueError(
                f"{need} does not keep per-token {name.removeprefix('output_')}; got {name}=True. "
                "Drop it: ReasoningOutput.traces tells what was sampled and how it scored"
            )


def _check_ids(need: str, model: PreTrainedModel, input_ids: Tensor) -> None:
    """Raise unless there are prompts of tokens that the model has."""
    if input_ids.dim() != 2 or not input_ids.numel():
        raise ValueError(
            f"{need} got input_ids of shape {tuple(input_ids.shape)}; pass at least one prompt "
            "with at least one token, as (prompts, tokens)"
        )
    if input_ids.is_floating_point():
        raise ValueError(f"{need} got input_ids of {input_ids.dtype}; pass whole numbers (int64)")
    config: Any = model.config.get_text_config()
    vocabulary = getattr(config, "vocab_size", None)
    least, most = (int(x) for x in input_ids.aminmax())
    if least < 0 or (vocabulary is not None and most >= vocabulary):
        raise ValueError(
            f"{need} got the token ids {least} to {most} in input_ids; {type(model).__name__} "
            f"has {vocabulary} tokens, from 0: pass what the model's own tokenizer gives"
        )


def _check_mask(need: str, input_ids: Tensor, mask: Any) -> None:
    """Raise unless every prompt has tokens, and these stand on the right."""
    if not isinstance(mask, Tensor):
        return
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"{need} got an attention_mask of shape {tuple(mask.shape)} for input_ids of "
            f"{tuple(input_ids.shape)}; pass one entry a token, as the tokenizer gives them"
        )
    if empty := (~mask.bool().any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(
            f"{need} got an attention_mask without a 1 in row {empty[0]}: a prompt without tokens"
        )
    # The last column tells right padding; a 1 followed by a 0 tells a hole.
    if bool((mask[:, 1:] < mask[:, :-1]).any()):
        raise ValueError(
            f"{need} got prompts with padding behind or between their tokens; they are continued "
            "at their right end: pad on the left (padding_side='left')"
        )


def _check_room(
    need: str, model: PreTrainedModel, input_ids: Tensor, config: GenerationConfig
) -> None:
    """Raise if a table of positions ends before the longest continuation does."""
    positions = learned_positions(model)
    if positions is not None and int(config.max_length) > positions:
        width = input_ids.shape[1]
        raise ValueError(
            f"{need} was asked for up to {int(config.max_length) - width} tokens behind {width}; "
            f"{type(model).__name__} has a table of {positions} positions and fails behind it: "
            f"pass max_new_tokens of at most {max(positions - width, 0)}, or shorter prompts"
        )


def _check_cache(need: str, kwargs: dict[str, Any]) -> None:
    """Raise unless there is a key-value cache of which rows can be picked."""
    cache = kwargs.get("past_key_values")
    if not kwargs.get("use_cache", True) or not hasattr(cache, "batch_select_indices"):
        raise ValueError(
            f"{need} branches the key-value cache; got {type(cache).__name__} with use_cache="
            f"{kwargs.get('use_cache')}. Allowed are caches with batch_select_indices "
            "(DynamicCache): leave cache_implementation unset and use_cache=True"
        )
    if isinstance(cache, Cache) and not all(
        hasattr(x, "batch_select_indices") for x in cache.layers
    ):
        kinds = sorted({type(layer).__name__ for layer in cache.layers})
        raise ValueError(
            f"{need} branches the key-value cache; got {type(cache).__name__} of "
            f"{', '.join(kinds)}, which cannot be. Leave cache_implementation unset, or use an "
            "attention-only model"
        )
