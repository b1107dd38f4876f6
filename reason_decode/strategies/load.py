"""Rebuilds a strategy from the settings that ``save_pretrained`` wrote, and decodes with it."""

import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.scorers.base import Scorer
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
        name: _load_scorer(json.dumps(x)) if isinstance(x, dict) else x
        for name, x in settings["arguments"].items()
    }
    strategy = _import_class(settings["class"], Strategy)
    known = inspect.signature(strategy).parameters
    if unknown := sorted(arguments.keys() - known.keys()):
        raise ValueError(
            f"got the argument {unknown[0]!r} in a saved {strategy.__name__}, which has only "
            f"{', '.join(known)}; was custom_generate/generate.py edited? Save the strategy again"
        )
    return strategy(tokenizer=tokenizer, **arguments)


@lru_cache(maxsize=4)
def _load_scorer(settings: str) -> Scorer:
    """A scorer from its settings as JSON text, which can be looked up in the cache."""
    saved = json.loads(settings)
    return _import_class(saved["class"], Scorer).from_pretrained(**saved["arguments"])


@lru_cache(maxsize=4)
def _load_tokenizer(path_or_id: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(path_or_id)


def _import_class(path: str, base: type) -> Any:
    """The class of ``module:Class``, which must be a subclass of ``base``."""
    module, _, name = path.partition(":")
    mend = "install or upgrade the package that has it"
    if module.partition(".")[0] == "reason_decode":
        mend = "upgrade: pip install --upgrade reason-decode"
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ValueError(
            f"got {path!r}, whose module cannot be imported here ({error}); {mend}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"got {path!r}, which is no {base.__name__} here; {mend}")
    return found
