"""Votes over answers: plain functions from answers and weights to a winner."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reason_decode.answers import same_answer

__all__ = ["Votes", "majority", "weighted"]


@dataclass(frozen=True)
class Votes:
    """How a vote came out.

    Args:
        answer: the winning answer, as its first voter wrote it; ``None`` if nobody gave one.
        weights: answer -> sum of its voters' weights, in order of first appearance.
        members: indices of the winner's voters, ascending.
        representative: index of the voter to show: of the winner's voters the one of greatest
            weight, the first of these on a tie.
    """

    answer: str | None
    weights: dict[str, float]
    members: tuple[int, ...]
    representative: int


def majority(
    answers: Sequence[str | None], same: Callable[[str, str], bool] = same_answer
) -> Votes:
    """The answer that most candidates give: ``weighted`` with every weight 1.

    Args:
        answers: one a candidate, ``None`` where it gave none.
        same: whether two answers are equal.

    Raises:
        ValueError: there are no answers at all.

    Source: Wang et al. 2023, 2203.11171 §2.
    """
    return weighted(answers, [1.0] * len(answers), same)


def weighted(
    answers: Sequence[str | None],
    weights: Sequence[float],
    same: Callable[[str, str], bool] = same_answer,
) -> Votes:
    """The answer of greatest weight: ``argmax_a sum_i weights[i] * same(answers[i], a)``.

    Each answer joins the first group whose first member it equals. Of groups of equal weight the
    one that appeared first wins. ``None`` joins no group and wins only where no group exists.

    Args:
        answers: one a candidate, ``None`` where it gave none.
        weights: one a candidate, finite and not negative.
        same: whether two answers are equal.

    Raises:
        ValueError: there are no answers, the lengths differ, or a weight is no finite number of at
            least 0 (the message names the candidate).

    Source: Li et al. 2023, 2206.02336 §3.2.
    """
    _check(answers, weights)
    groups: dict[str, list[int]] = {}
    spelled: dict[str, str] = {}
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        if answer not in spelled:
            spelled[answer] = next((head for head in groups if same(head, answer)), answer)
        groups.setdefault(spelled[answer], []).append(i)
    sums = {head: math.fsum(weights[i] for i in members) for head, members in groups.items()}
    winner = max(sums, key=sums.__getitem__, default=None)
    members = range(len(answers)) if winner is None else groups[winner]
    return Votes(winner, sums, tuple(members), max(members, key=lambda i: weights[i]))


def _check(answers: Sequence[str | None], weights: Sequence[float]) -> None:
    if not answers:
        raise ValueError("got no answers to vote over; pass at least one candidate's answer")
    if len(weights) != len(answers):
        raise ValueError(
            f"got {len(weights)} weights for {len(answers)} answers; pass one weight an answer"
        )
    for i, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"candidate {i} has the weight {weight}; a vote needs finite weights of at least "
                "0: use probabilities, or exponentiate log-probabilities first"
            )
