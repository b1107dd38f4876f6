"""Settings of active learning; importing this module loads no torch."""

from dataclasses import dataclass

from reason_decode.core.options import Reduce
from reason_decode.training.config import check_positive, check_share

__all__ = ["ActiveLearningConfig"]


@dataclass(frozen=True, kw_only=True)
class ActiveLearningConfig:
    """Settings of the rounds of ``active_learning``.

    Args:
        rounds: rounds after the first.
        per_problem: solutions of each problem that are labelled in a round.
        wrong_share: share of wrong answers among the solutions that a round labels.
        uniform: select solutions at random, for comparison.
        selector: process reward model that selects in the first round, a folder or a Hub id
            (default: one random solution of each problem).
        reduce: how the step scores of a solution become its score.
        skip_unlabelled: go on where some of the chosen solutions have no labels, without them.

    Raises:
        ValueError: a number is out of range, or a selector is given for a random selection.

    Examples:
        >>> from reason_decode.training import ActiveLearningConfig
        >>> ActiveLearningConfig(rounds=2).wrong_share
        0.8
    """

    rounds: int = 3
    per_problem: int = 2
    wrong_share: float = 0.8
    uniform: bool = False
    selector: str | None = None
    reduce: Reduce = "prod"
    skip_unlabelled: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "per_problem")
        check_share(self, "wrong_share")
        if self.rounds < 0:
            raise ValueError(f"got rounds={self.rounds}; need at least 0 after the first")
        if self.uniform and self.selector is not None:
            raise ValueError(
                f"got uniform=True and selector={self.selector!r}; a random selection needs no "
                "model: leave one of them out"
            )
