"""Rebuilds a strategy from the settings that ``save_pretrained`` wrote, and decodes with it."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.class_paths import import_class
from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.scorers.saved import load_saved_scorer
from reason_decode.strategies.base import Strategy

__all__ = ["from_settings", "generate_from_settings"]


def generate_from_settings(
    settings: Mapping[str, Any],
    model: PreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    streamer: BaseStreamer | None = None,
    **arguments: Any,
) -> Any:
    """``model.generate`` with a saved strategy.

    Args:
        settings: as ``save_pretrained`` wrote them.
        model: the generator.
        tokenizer: the generator's tokenizer; ``None``: the one at ``model.name_or_path``.
        streamer: receives the answer's tokens as they are final.
        arguments: arguments of ``model.generate``; those of the strategy override the saved ones.

    Raises:
        ValueError: the strategy or its scorer cannot be rebuilt, or the model was loaded from
            nowhere and no tokenizer is given.
    """
    overrides = {name: arguments.pop(name) for name in settings["arguments"] if name in arguments}
    if tokenizer is None:
        if not model.name_or_path:
            raise ValueError(
                f"got a {type(model).__name__} that was loaded from nowhere, so its tokenizer is "
                "not known; pass tokenizer= to generate"
            )
        tokenizer = _load_tokenizer(model.name_or_path)
    strategy = replace(from_settings(settings, tokenizer), streamer=streamer, **overrides)
    # Not model.generate: a model loaded with remote code may carry this very function there.
    model_class: Any = type(model)
    return model_class.generate(model, custom_generate=strategy, **arguments)


def from_settings(settings: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Strategy:
    """The strategy that settings describe; its scorer is loaded once per process.

    Args:
        settings: as ``save_pretrained`` wrote them.
        tokenizer: the generator's tokenizer.

    Raises:
        ValueError: a class cannot be imported here, or is no strategy or scorer.
    """
    arguments = {
        name: load_saved_scorer(json.dumps(x)) if isinstance(x, dict) else x
        for name, x in settings["arguments"].items()
    }
    strategy = import_class(settings["class"], Strategy)
    known = inspect.signature(strategy).parameters
    if unknown := sorted(arguments.keys() - known.keys()):
        raise ValueError(
            f"got the argument {unknown[0]!r} in a saved {strategy.__name__}, which has only "
            f"{', '.join(known)}; was custom_generate/generate.py edited? Save the strategy again"
        )
    return strategy(tokenizer=tokenizer, **arguments)


@lru_cache(maxsize=4)
def _load_tokenizer(path_or_id: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(path_or_id)
