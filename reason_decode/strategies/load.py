"""Makes a strategy again of what ``save_pretrained`` wrote, and decodes with it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.generation.streamers import BaseStreamer

from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.scorers import (
    LikelihoodScorer,
    NGramRanker,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.strategies.base import Strategy
from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

_STRATEGIES: dict[str, Any] = {
    x.__name__: x for x in (BestOfN, RationaleGuided, SelfConsistency, StepSearch)
}
_SCORERS: dict[str, Any] = {
    x.__name__: x
    for x in (
        LikelihoodScorer,
        NGramRanker,
        OutcomeRewardModel,
        ProcessRewardModel,
        RankingModel,
        RationaleScorer,
    )
}


def generate_from_settings(
    settings: Mapping[str, Any],
    model: PreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    streamer: BaseStreamer | None = None,
    **arguments: Any,
) -> Any:
    """``model.generate`` with a strategy that was written down.

    Args:
        settings: as ``save_pretrained`` wrote them.
        model: the generator.
        tokenizer: its own; ``None``: the one at ``model.name_or_path``.
        streamer: put the answer as it is decided.
        arguments: as of ``model.generate``; those of the strategy override what was saved.

    Raises:
        ValueError: the strategy or its scorer is not known to this version, or there is no
            tokenizer.
    """
    own = {name: arguments.pop(name) for name in settings["arguments"] if name in arguments}
    if tokenizer is None:
        if not model.name_or_path:
            raise ValueError(
                f"got a {type(model).__name__} that was loaded from nowhere, so its tokenizer is "
                "not known; pass tokenizer= to generate"
            )
        tokenizer = _tokenizer(model.name_or_path)
    strategy = replace(make(settings, tokenizer), streamer=streamer, **own)
    # Not model.generate: a model loaded with remote code may carry this very function there.
    generate: Any = type(model)
    return generate.generate(model, custom_generate=strategy, **arguments)


def make(settings: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Strategy:
    """The strategy that settings describe; its scorer is loaded once a process.

    Raises:
        ValueError: the strategy or its scorer is not known to this version.
    """
    arguments = {
        name: _scorer(json.dumps(x)) if isinstance(x, dict) else x
        for name, x in settings["arguments"].items()
    }
    return _known(_STRATEGIES, settings["strategy"])(tokenizer=tokenizer, **arguments)


@lru_cache(maxsize=4)
def _scorer(settings: str) -> Any:
    """A scorer, loaded from where it was."""
    arguments = json.loads(settings)
    kind = _known(_SCORERS, arguments.pop("scorer"))
    judge = arguments.pop("model", None)
    if judge is not None:
        arguments["model"] = load_checkpoint(AutoModelForCausalLM, judge, dtype="auto")
        arguments["tokenizer"] = _tokenizer(judge)
    return kind.from_pretrained(dtype="auto", **arguments)


@lru_cache(maxsize=4)
def _tokenizer(path_or_id: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(path_or_id)


def _known(kinds: Mapping[str, Any], name: str) -> Any:
    if name not in kinds:
        raise ValueError(
            f"got {name!r}, which this version of reason-decode does not know; allowed are "
            f"{', '.join(kinds)}. Upgrade: pip install --upgrade reason-decode"
        )
    return kinds[name]
