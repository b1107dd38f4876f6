"""Scorers as the plain JSON that saved strategies hold."""

import json
from functools import lru_cache
from typing import Any

from reason_decode.core.class_paths import import_class, import_path
from reason_decode.scorers.base import Scorer

__all__ = ["load_saved_scorer", "scorer_settings"]


def scorer_settings(scorer: Scorer) -> dict[str, Any]:
    """Class and settings of a scorer as plain JSON.

    Args:
        scorer: the scorer.

    Raises:
        ValueError: the class cannot be imported elsewhere, or its settings are no plain JSON.
    """
    settings = {"class": import_path(type(scorer)), "arguments": scorer.settings()}
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"got settings() of {type(scorer).__name__} that cannot be saved ({error}); let it "
            "return numbers, texts, lists and dictionaries"
        ) from error
    return settings


@lru_cache(maxsize=4)
def load_saved_scorer(settings: str) -> Scorer:
    """A scorer from its settings as JSON text, which can be looked up in the cache."""
    saved = json.loads(settings)
    return import_class(saved["class"], Scorer).from_pretrained(**saved["arguments"])
