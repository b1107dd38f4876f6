"""The weights of votes, made of the totals of scorers."""

from collections.abc import Sequence

from reason_decode.core.solutions import Candidate
from reason_decode.core.vote_formula import LearnedWeights
from reason_decode.core.voting import (
    VoteWeighting,
    check_vote_weighting,
    top_share,
    vote_weights,
)
from reason_decode.scorers.base import Scorer

__all__ = ["candidate_weights", "check_top", "resolve_vote_weighting"]


def candidate_weights(
    candidates: Sequence[Candidate],
    scorer: Scorer | None,
    vote_weighting: VoteWeighting | None,
    top: float,
    least: float | None = None,
) -> list[float]:
    """The weight of each candidate's vote; 0 beyond the top share, and 1 without a scorer.

    Ranks and shares are those among the candidates that have an answer.

    Args:
        candidates: with answers and totals.
        scorer: gave the totals.
        vote_weighting: the formula, see ``resolve_vote_weighting``.
        top: share of the candidates that vote, those of highest total.
        least: lowest total that votes; ``None``: any.
    """
    if scorer is None:
        return [1.0] * len(candidates)
    weighting = resolve_vote_weighting(vote_weighting, scorer)
    voters = [i for i, c in enumerate(candidates) if c.answer is not None]
    if not voters:
        voters = list(range(len(candidates)))
    totals = [candidates[i].total or 0.0 for i in voters]
    kept = top_share(totals, top)
    if least is not None:
        kept = [keep and total >= least for keep, total in zip(kept, totals, strict=True)]
    weights = dict(zip(voters, vote_weights(totals, weighting), strict=True))
    votes = {i: weights[i] if keep else 0.0 for i, keep in zip(voters, kept, strict=True)}
    return [votes.get(i, 0.0) for i in range(len(candidates))]


def check_top(top: float, scorer: Scorer | None) -> None:
    """Raise unless this is a share of candidates, and they have scores.

    Raises:
        ValueError: it is not above 0 and at most 1, or less than all vote without a scorer.
    """
    if not 0 < top <= 1:
        raise ValueError(f"got top={top!r}; need a share above 0, at most 1")
    if top < 1 and scorer is None:
        raise ValueError(f"got top={top!r} without a scorer; pass one, such as ConfidenceScorer()")


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
    if chosen == "borda" or LearnedWeights.matches(chosen):
        return str(chosen)
    if scorer.score_space == "log_probability":
        if chosen not in (None, "exp(s)", "sigmoid(s)"):
            raise ValueError(
                f"got vote_weighting={chosen!r} for log-probabilities of {name}, which are "
                "negative, and a vote weighs 0 or more; leave it out for 'exp(s)', or pass 'borda'"
            )
        return chosen or "exp(s)"
    if chosen is None and scorer.score_space == "reward":
        raise ValueError(
            f"got rewards of {name} to weigh votes, which may be negative, and a vote weighs 0 or "
            "more; pass vote_weighting='borda', 'sigmoid(s)' or 'exp(s)', or 's' if no reward "
            "is negative, or a scorer of probabilities"
        )
    return chosen or "s"
