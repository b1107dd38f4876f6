"""Votes over answers: functions from answers and weights to a winner, and rules for stopping early.

No models here: answers are text, weights are numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from reason_decode.core.answers import same_answer
from reason_decode.core.vote_formula import LearnedWeights, sigmoid

__all__ = [
    "EarlyStop",
    "NamedWeighting",
    "VoteResult",
    "VoteWeighting",
    "check_early_stop",
    "check_vote_weighting",
    "hold_probability",
    "is_decided",
    "majority_vote",
    "should_stop",
    "top_share",
    "vote_weights",
    "weighted_vote",
]

NamedWeighting = Literal["s", "1+s", "1+2s", "exp(s)", "sigmoid(s)", "borda"]
VoteWeighting = str
"""Formula for the weight of a vote, given the solution's score s: a ``NamedWeighting``, of which
"borda" looks at ranks alone, or one that was learnt, such as ``0.25+sigmoid(2.1*s-0.4)``."""

EarlyStop = Literal["decided"] | float
"""Rule for ending a vote early: ``"decided"``, or the least probability that the leader wins."""

# Parameters of the prediction rule in ``hold_probability``.
_STRENGTH = _DISCOUNT = 0.5
# Largest number of remaining votes for which ``hold_probability`` is computed exactly.
_MAX_EXACT = 24


@dataclass(frozen=True)
class VoteResult:
    """Winner and weights of a vote.

    Args:
        answer: the winning answer, as its first voter wrote it; ``None`` if nobody gave one.
        weights: answer -> sum of its voters' weights, in order of first appearance.
        voters: indices of the candidates that voted for the winner, ascending.
        representative: index of the candidate to return: the winner's voter of greatest weight,
            the first one on a tie.
    """

    answer: str | None
    weights: dict[str, float]
    voters: tuple[int, ...]
    representative: int


def majority_vote(
    answers: Sequence[str | None], same: Callable[[str, str], bool] = same_answer
) -> VoteResult:
    """The answer that most candidates give: ``weighted_vote`` with every weight 1.

    Args:
        answers: one per candidate, ``None`` where it gave none.
        same: returns whether two answers are equal.

    Raises:
        ValueError: the list is empty.

    Source: Wang et al. 2023, 2203.11171 §2.
    """
    return weighted_vote(answers, [1.0] * len(answers), same)


def weighted_vote(
    answers: Sequence[str | None],
    weights: Sequence[float],
    same: Callable[[str, str], bool] = same_answer,
) -> VoteResult:
    """The answer of greatest weight: ``argmax_a sum_i weights[i] * same(answers[i], a)``.

    Each answer joins the first group whose first member it equals. Of groups of equal weight the
    one that appeared first wins. ``None`` joins no group and wins only where no group exists.

    Args:
        answers: one per candidate, ``None`` where it gave none.
        weights: one per candidate, finite and at least 0.
        same: returns whether two answers are equal.

    Raises:
        ValueError: the list is empty, the lengths differ, an answer is not text, or a weight is
            negative or not finite (the message names the candidate).

    Source: Li et al. 2023, 2206.02336 §3.2.
    """
    _check(answers, weights)
    groups: dict[str, list[int]] = {}
    group_of: dict[str, str] = {}
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        if answer not in group_of:
            group_of[answer] = next((head for head in groups if same(head, answer)), answer)
        groups.setdefault(group_of[answer], []).append(i)
    sums = {head: math.fsum(weights[i] for i in members) for head, members in groups.items()}
    winner = max(sums, key=sums.__getitem__, default=None)
    voters = range(len(answers)) if winner is None else groups[winner]
    return VoteResult(winner, sums, tuple(voters), max(voters, key=lambda i: weights[i]))


def vote_weights(scores: Sequence[float], weighting: VoteWeighting = "s") -> list[float]:
    """The weights of votes by a ``VoteWeighting``.

    "borda" is ``n + 1 - rank``, n for the best of n solutions and 1 for the worst; equal scores
    share the mean of their ranks. It is the same for scores on any scale. With ``1 + s`` a score in
    [0, 1] can overturn a narrow majority but no wide one. ``exp(s)`` is scaled so that the largest
    weight is 1, which changes no vote and keeps it from underflowing.

    Args:
        scores: s, the score of each solution.
        weighting: the formula.

    Source: the first three: Li et al. 2024, 2312.12832, adaptive self-consistency; Yiwei98/TDG at
    ca86f56, code/RM/ASC.py, flags 3, 2 and 1; ranks: Kang et al. 2025, 2502.18581, section 3.3.

    Examples:
        >>> from reason_decode.core.voting import vote_weights
        >>> vote_weights([0.25, 0.5], "1+s")
        [1.25, 1.5]
        >>> vote_weights([-9.0, 4.0, 4.0], "borda")
        [1.0, 2.5, 2.5]
    """
    if weighting == "borda":
        return [sum(s > x for x in scores) + (scores.count(s) + 1) / 2 for s in scores]
    if weighting == "exp(s)":
        greatest = max(scores, default=0.0)
        return [math.exp(s - greatest) for s in scores]
    if weighting == "sigmoid(s)":
        return [sigmoid(s) for s in scores]
    if LearnedWeights.matches(weighting):
        return LearnedWeights.parse(weighting).weights([*scores])
    base, factor = {"s": (0, 1), "1+s": (1, 1), "1+2s": (1, 2)}[weighting]
    return [base + factor * s for s in scores]


def top_share(scores: Sequence[float], share: float) -> list[bool]:
    """True for the solutions of highest score, ``ceil(share * n)`` of n, the first of equal ones.

    Args:
        scores: the score of each solution.
        share: above 0, at most 1.

    Source: confidence filtering, Fu et al. 2025, 2508.15260, section 3.2.

    Examples:
        >>> from reason_decode.core.voting import top_share
        >>> top_share([0.1, 0.9, 0.5], 0.5)
        [False, True, True]
    """
    # A share such as 0.1 times 10 may be a hair above 1.
    count = math.ceil(share * len(scores) - 1e-9)
    kept = set(sorted(range(len(scores)), key=lambda i: -scores[i])[:count])
    return [i in kept for i in range(len(scores))]


def check_vote_weighting(vote_weighting: object) -> None:
    """Raise unless this is a ``VoteWeighting`` or ``None``.

    Raises:
        ValueError: it is neither.
    """
    named = vote_weighting is None or vote_weighting in get_args(NamedWeighting)
    if not named and not LearnedWeights.matches(vote_weighting):
        raise ValueError(
            f"got vote_weighting={vote_weighting!r}; allowed are "
            f"{', '.join(get_args(NamedWeighting))}, a formula of `train vote-weights` such as "
            "0.25+sigmoid(2.1*s-0.4), and None"
        )


def is_decided(counts: Sequence[float], remaining: int) -> bool:
    """True if the remaining votes cannot change the winner: ``first - second > remaining``.

    Args:
        counts: number of votes of each answer so far.
        remaining: number of voters still to come, each with one vote.
    """
    first, second = sorted([*counts, 0.0, 0.0], reverse=True)[:2]
    return first - second > remaining


def hold_probability(counts: Sequence[float], remaining: int) -> float:
    """Probability that the leading answer still leads, or ties, when everyone has voted.

    Each remaining voter names an answer that ``v`` of ``n`` voters have named with probability
    ``(v - 1/2) / (n + 1/2)``, and else a new one: wrong answers differ from each other. Exact for
    up to 24 remaining voters. Above that, all of them are assumed to vote for the first two, with
    ``p ~ Beta(first + 1, second + 1)``: ``P(first + x >= second + remaining - x)``. Returns 0 if
    nobody has voted.

    Args:
        counts: number of votes of each answer so far.
        remaining: number of voters still to come.

    Source: the prediction rule of Pitman 1995, Exchangeable and partially exchangeable random
    partitions, with both parameters 1/2; the Beta posterior of Aggarwal et al. 2023, 2305.11860,
    section 3, which asks whether p > 1/2, the limit of infinitely many voters.
    """
    first, *others = sorted((int(x) for x in counts if x), reverse=True) or [0]
    if first == 0:
        return 0.0
    if remaining <= _MAX_EXACT:
        return _exact_hold_probability(first, tuple(others), 0, 0, remaining)
    second = others[0] if others else 0
    ways = (
        math.comb(first + x, x) * math.comb(second + remaining - x, remaining - x)
        for x in range(remaining + 1)
        if first + x >= second + remaining - x
    )
    return sum(ways) / math.comb(first + second + remaining + 1, remaining)


@lru_cache(1 << 18)
def _exact_hold_probability(
    first: int, others: tuple[int, ...], beaten: int, beaten_votes: int, remaining: int
) -> float:
    """``hold_probability`` by recursion over the next vote.

    The number of states would explode if every answer were followed. Answers that can no longer
    catch up with the leader all behave alike, so only their number and their votes are kept.

    Args:
        first: votes of the leader.
        others: votes of the answers that can still catch up, descending.
        beaten: number of answers that cannot.
        beaten_votes: votes of these together.
        remaining: number of voters still to come.
    """
    alive = tuple(v for v in others if v + remaining >= first)
    beaten += len(others) - len(alive)
    beaten_votes += sum(others[len(alive) :])
    if not alive and remaining < first:
        return 1.0
    if remaining == 0:
        return float(first >= alive[0])
    total = first + sum(alive) + beaten_votes + _STRENGTH
    num_answers = 1 + len(alive) + beaten
    remaining -= 1
    after = _exact_hold_probability
    weighed = (first - _DISCOUNT) * after(first + 1, alive, beaten, beaten_votes, remaining)
    new_answer = _STRENGTH + _DISCOUNT * num_answers
    weighed += new_answer * after(first, (*alive, 1), beaten, beaten_votes, remaining)
    if beaten:
        weight = beaten_votes - _DISCOUNT * beaten
        weighed += weight * after(first, alive, beaten, beaten_votes + 1, remaining)
    for k, v in enumerate(alive):
        # Answers with equal votes lead to equal states: count them once, and grow the first of
        # them, which keeps the order descending.
        if k == 0 or v < alive[k - 1]:
            grown = (*alive[:k], v + 1, *alive[k + 1 :])
            weight = alive.count(v) * (v - _DISCOUNT)
            weighed += weight * after(first, grown, beaten, beaten_votes, remaining)
    return weighed / total


def should_stop(counts: Sequence[float], remaining: int, early_stop: EarlyStop | None) -> bool:
    """True if a vote may end before all candidates are sampled.

    Args:
        counts: number of votes of each answer so far.
        remaining: number of voters still to come.
        early_stop: ``"decided"``: stop once nobody can change the winner; a probability: stop also
            once the leader wins with at least this probability; ``None``: never stop.
    """
    if early_stop is None:
        return False
    if is_decided(counts, remaining):
        return True
    return early_stop != "decided" and hold_probability(counts, remaining) >= early_stop


def check_early_stop(early_stop: object) -> None:
    """Raise unless this is an ``EarlyStop`` or ``None``.

    Raises:
        ValueError: it is neither, or the probability is not between 0.5 and 1.
    """
    if early_stop is None or early_stop == "decided":
        return
    if isinstance(early_stop, float) and 0.5 < early_stop < 1:
        return
    raise ValueError(
        f"got early_stop={early_stop!r}; allowed are 'decided', a probability between 0.5 and 1 "
        "such as 0.93, and None"
    )


def _check(answers: Sequence[str | None], weights: Sequence[float]) -> None:
    """Raise unless each answer is text or ``None`` and has a finite weight of at least 0."""
    if not answers:
        raise ValueError("got no answers to vote over; pass at least one candidate's answer")
    if len(weights) != len(answers):
        raise ValueError(
            f"got {len(weights)} weights for {len(answers)} answers; pass one weight per answer"
        )
    for i, answer in enumerate(answers):
        if answer is not None and not isinstance(answer, str):
            raise ValueError(f"candidate {i} has the answer {answer!r:.60}; need text or None")
    for i, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"candidate {i} has the weight {weight}; a vote needs finite weights of at least "
                "0: use probabilities, or exponentiate log-probabilities first"
            )
