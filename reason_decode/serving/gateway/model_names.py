"""Model names that carry a strategy: ``best-of-8/NAME``, ``step-search-4x8/NAME``."""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["FORMS", "parse_model_name", "parse_strategy_name"]

FORMS = (
    "vote-N, weighted-vote-N (by the scorer), best-of-N, step-search-N or step-search-NxWIDTH (N "
    "next steps for each of WIDTH trajectories), particle-filter-N, rationale-guided-N"
)
_STRATEGIES = {
    "vote": "self-consistency",
    "weighted-vote": "self-consistency",
    "best-of": "best-of-n",
    "step-search": "step-search",
    "particle-filter": "particle-filter",
    "rationale-guided": "rationale-guided",
}
_STRATEGY = re.compile(rf"({'|'.join(_STRATEGIES)})-([1-9]\d{{0,5}})(?:x([1-9]\d{{0,5}}))?")


def parse_strategy_name(name: str) -> dict[str, Any] | None:
    """The options of ``GenerationOptions`` in a strategy's name; ``None`` if it is none.

    ``weighted`` says that the scorer weighs the votes.

    Examples:
        >>> parse_strategy_name("step-search-4x8")
        {'strategy': 'step-search', 'n': 4, 'beam_width': 8}
        >>> parse_strategy_name("vote-16"), parse_strategy_name("fast")
        ({'strategy': 'self-consistency', 'n': 16}, None)
    """
    match = _STRATEGY.fullmatch(name)
    if match is None or (match[3] and match[1] != "step-search"):
        return None
    found: dict[str, Any] = {"strategy": _STRATEGIES[match[1]], "n": int(match[2])}
    if match[3]:
        found["beam_width"] = int(match[3])
    if match[1] == "weighted-vote":
        found["weighted"] = True
    return found


def parse_model_name(name: str, served: str) -> Mapping[str, Any] | None:
    """The options in a request's model name; ``None`` if the model is not served.

    Args:
        name: the request's ``model``.
        served: the name of the served model, which may hold slashes, as a Hub id does.

    Examples:
        >>> parse_model_name("best-of-8/you/model", "you/model")
        {'strategy': 'best-of-n', 'n': 8}
        >>> parse_model_name("you/model", "you/model"), parse_model_name("other", "you/model")
        ({}, None)
    """
    if name == served:
        return {}
    prefix, _, rest = name.partition("/")
    return parse_strategy_name(prefix) if rest == served else None
