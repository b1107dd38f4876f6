"""Settings of a beam: the checks of them, and the states that trajectories share."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from reason_decode.core.thinking import check_score_part
from reason_decode.scorers.base import check_reduce, check_scorer_argument
from reason_decode.strategies.arguments import (
    check_max_tokens,
    check_positive,
    check_positive_or_none,
)

StateKey = Callable[[Sequence[str]], Hashable]
"""Given the steps of a trajectory, returns what its future depends on."""


def check_search(strategy: Any) -> None:
    """Raise unless the settings of a ``StepSearch`` are allowed.

    Raises:
        ValueError: one is not.
    """
    check_scorer_argument("scorer", strategy.scorer)
    check_reduce(strategy.reduce, strategy.scorer)
    check_positive(n=strategy.n, beam_width=strategy.beam_width, subtrees=strategy.subtrees)
    check_positive_or_none(max_steps=strategy.max_steps, lookahead=strategy.lookahead or None)
    check_score_part(strategy.score_part)
    check_max_tokens(strategy.max_tokens, strategy.n * strategy.beam_width)
    check_beam(strategy.beam_width, strategy.subtrees, strategy.state_key, strategy.margin)


def check_beam(
    beam_width: int, subtrees: int, state_key: StateKey | None, margin: float | None
) -> None:
    """Raise unless these are settings of a beam; see ``StepSearch``.

    Raises:
        ValueError: one is not allowed.
    """
    if beam_width % subtrees:
        raise ValueError(
            f"got beam_width={beam_width} for subtrees={subtrees}; every subtree "
            "keeps as many trajectories as the others: make beam_width a multiple of subtrees"
        )
    if margin is not None and not (isinstance(margin, int | float) and margin >= 0):
        raise ValueError(f"got margin={margin!r}; need 0 or more, or None to drop nothing")
    if state_key is not None and not callable(state_key):
        raise ValueError(
            f"got state_key={state_key!r:.80}; pass a function from a trajectory's steps "
            "to what its future depends on, or None"
        )


def first_of_each_state(trajectories: Sequence[Sequence[str]], state_key: StateKey) -> list[int]:
    """Indices of the first trajectory of each key.

    Args:
        trajectories: the steps of each.
        state_key: returns what a trajectory's future depends on.

    Raises:
        TypeError: ``state_key`` returned something that cannot be hashed.
    """
    first: dict[Hashable, int] = {}
    for k, steps in enumerate(trajectories):
        key = state_key(steps)
        if not isinstance(key, Hashable):
            raise TypeError(
                f"got a {type(key).__name__} from state_key, which cannot be hashed; let it return "
                "a tuple, a frozenset or text"
            )
        first.setdefault(key, k)
    return list(first.values())
