"""Reduction of the scores of a solution's steps to one number, and to the weight of a vote."""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from reason_decode.core.options import Reduce
from reason_decode.core.voting import VoteWeighting, check_vote_weighting
from reason_decode.scorers.base import Scorer, ScoreSpace

__all__ = ["Reduce", "check_reduce", "default_reduce", "reduce_scores", "resolve_vote_weighting"]

_DEFAULT: dict[ScoreSpace, Reduce] = {
    "probability": "prod",
    "log_probability": "mean",
    "reward": "last",
}
_LOWEST = torch.finfo(torch.float32).min


def reduce_scores(
    scores: Sequence[Tensor], reduce: Reduce = "prod", score_space: ScoreSpace = "probability"
) -> Tensor:
    """One number a solution: ``prod(s)``, ``min(s)``, ``s[-1]``, ``mean(s)`` or ``sum(s)``.

    A solution without steps reduces to the lowest number of the space: 0 for probabilities, the
    lowest float32 for log-probabilities and rewards. So it never wins over one that has steps.

    Args:
        scores: float32 (s,) for each solution, over its steps.
        reduce: the reduction.
        score_space: what the scores are.

    Returns:
        float32 (n,).

    Raises:
        ValueError: there is no such reduction, or ``score_space`` does not allow it.

    Source: the product is what Let's Verify Step by Step uses (Lightman et al. 2023, 2305.20050,
    section 2.6).

    Examples:
        >>> import torch
        >>> from reason_decode.scorers import reduce_scores
        >>> reduce_scores([torch.tensor([0.5, 0.5]), torch.zeros(0)], "prod")
        tensor([0.2500, 0.0000])
    """
    _check(reduce, score_space)
    empty = 0.0 if score_space == "probability" else _LOWEST
    totals = [_reduce_one(x.float(), reduce) if len(x) else torch.tensor(empty) for x in scores]
    return torch.stack(totals) if totals else torch.zeros(0)


def default_reduce(scorer: Scorer) -> Reduce:
    """The reduction that is natural for a scorer's ``score_space``.

    ``"prod"`` for probabilities, ``"mean"`` for log-probabilities, ``"last"`` for rewards.
    """
    return _DEFAULT[scorer.score_space]


def check_reduce(reduce: str | None, scorer: Scorer) -> None:
    """Raise unless a reduction exists and the scorer's ``score_space`` allows it.

    Args:
        reduce: the reduction; ``None`` for the natural one, which is always allowed.
        scorer: gives the scores.

    Raises:
        ValueError: there is no such reduction, or scores are to be multiplied that are not
            probabilities: the product of two negative numbers is the greater, the worse they are.
    """
    if reduce is not None:
        _check(reduce, scorer.score_space, f" of {type(scorer).__name__}")


def resolve_vote_weighting(vote_weighting: VoteWeighting | None, scorer: Scorer) -> VoteWeighting:
    """The vote weighting that turns a scorer's totals into weights of at least 0.

    Args:
        vote_weighting: the caller's choice; ``None``: the scorer's, else ``"s"`` for probabilities
            and ``"exp(s)"`` for log-probabilities.
        scorer: gives the scores.

    Raises:
        ValueError: there is no such weighting; rewards without a weighting; log-probabilities with
            one that can make a negative weight.
    """
    check_vote_weighting(vote_weighting)
    chosen = vote_weighting or scorer.vote_weighting
    name = type(scorer).__name__
    if scorer.score_space == "log_probability":
        if chosen not in (None, "exp(s)", "sigmoid(s)"):
            raise ValueError(
                f"got vote_weighting={chosen!r} for log-probabilities of {name}, which are "
                "negative, and a vote weighs 0 or more; leave it out for 'exp(s)'"
            )
        return chosen or "exp(s)"
    if chosen is None and scorer.score_space == "reward":
        raise ValueError(
            f"got rewards of {name} to weigh votes, which may be negative, and a vote weighs 0 or "
            "more; pass vote_weighting='sigmoid(s)' or 'exp(s)', vote_weighting='s' if no reward "
            "is negative, or a scorer of probabilities"
        )
    return chosen or "s"


def _check(reduce: str, score_space: ScoreSpace, whose: str = "") -> None:
    if reduce not in get_args(Reduce):
        raise ValueError(f"got reduce={reduce!r}; allowed are {', '.join(get_args(Reduce))}")
    if reduce == "prod" and score_space != "probability":
        kind = "log-probabilities" if score_space == "log_probability" else "rewards"
        same = "'sum' (the log of the product), " if score_space == "log_probability" else ""
        raise ValueError(
            f"got reduce='prod' for {kind}{whose}, whose product says nothing; pass "
            f"reduce={same}'mean', 'min' or 'last'"
        )


def _reduce_one(scores: Tensor, reduce: Reduce) -> Tensor:
    if reduce == "last":
        return scores[-1]
    functions = {"prod": torch.prod, "min": torch.min, "mean": torch.mean, "sum": torch.sum}
    return functions[reduce](scores)
