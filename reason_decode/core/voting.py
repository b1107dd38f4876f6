"""Votes over answers: plain functions from answers and weights to a winner."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from reason_decode.core.answers import same_answer

__all__ = [
    "Form",
    "Stop",
    "Votes",
    "decided",
    "hold_probability",
    "majority",
    "should_stop",
    "vote_weight",
    "weighted",
]


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
        ValueError: there are no answers, the lengths differ, an answer is no text, or a weight is
            no finite number of at least 0 (the message names the candidate).

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


Form = Literal["s", "1+s", "1+2s"]
"""How a score s becomes the weight of a vote."""


def vote_weight(score: float, form: Form = "s") -> float:
    """The weight of a vote: ``s``, ``1 + s`` or ``1 + 2 s``.

    With the ones, a ranker in [0, 1] can overturn a narrow majority and no wide one.

    Args:
        score: of one solution.
        form: which of these.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; Yiwei98/TDG at ca86f56,
    code/RM/ASC.py, flags 3, 2 and 1.
    """
    return {"s": score, "1+s": 1 + score, "1+2s": 1 + 2 * score}[form]


def check_form(form: object) -> None:
    """Raise unless ``form`` is a way of weighing votes or ``None``.

    Raises:
        ValueError: it is neither.
    """
    if form is not None and form not in get_args(Form):
        raise ValueError(f"got form={form!r}; allowed are {', '.join(get_args(Form))} and None")


Stop = Literal["decided"] | float
"""When to stop asking for votes: none can change it any more, or so probably none will."""

# Of the prediction rule of ``hold_probability``; and up to how many votes to come it is exact.
_STRENGTH = _DISCOUNT = 0.5
_EXACT = 24


def decided(counts: Sequence[float], left: int) -> bool:
    """Whether no further votes can change the winner: ``first - second > left``.

    Args:
        counts: votes of each answer so far, one each.
        left: voters still to come, each with one vote.
    """
    first, second = _leaders(counts)
    return first - second > left


def hold_probability(counts: Sequence[float], left: int) -> float:
    """Probability that the leading answer still leads, or ties, when everyone has voted.

    Each voter to come names an answer that ``v`` of ``n`` have named with the probability
    ``(v - 1/2) / (n + 1/2)``, and else a new one: answers that are wrong are wrong in many ways.
    Exact for up to 24 voters to come. Above that all of them vote for the first two, as if
    ``p ~ Beta(first + 1, second + 1)``: ``P(first + x >= second + left - x)``. 0 if nobody has
    voted.

    Args:
        counts: votes of each answer so far, one each.
        left: voters still to come.

    Source: the prediction rule of Pitman 1995, Exchangeable and partially exchangeable random
    partitions, with both parameters 1/2; the Beta posterior of Aggarwal et al. 2023, 2305.11860,
    section 3, which asks whether p > 1/2, as if there were no end of voters.
    """
    first, *others = sorted((int(x) for x in counts if x), reverse=True) or [0]
    if first == 0:
        return 0.0
    if left <= _EXACT:
        return _holds(first, tuple(others), 0, 0, left)
    second = others[0] if others else 0
    ways = (
        math.comb(first + x, x) * math.comb(second + left - x, left - x)
        for x in range(left + 1)
        if first + x >= second + left - x
    )
    return sum(ways) / math.comb(first + second + left + 1, left)


@lru_cache(1 << 18)
def _holds(first: int, others: tuple[int, ...], beaten: int, votes: int, left: int) -> float:
    """``hold_probability`` by the next vote, for ``others`` descending.

    Answers that can no longer catch up are only counted, as ``beaten`` with so many ``votes``:
    otherwise there would be far more states.
    """
    alive = tuple(v for v in others if v + left >= first)
    beaten, votes = beaten + len(others) - len(alive), votes + sum(others[len(alive) :])
    if not alive and left < first:
        return 1.0
    if left == 0:
        return float(first >= alive[0])
    total = first + sum(alive) + votes + _STRENGTH
    named = 1 + len(alive) + beaten
    chance = (first - _DISCOUNT) * _holds(first + 1, alive, beaten, votes, left - 1)
    fresh = _STRENGTH + _DISCOUNT * named
    chance += fresh * _holds(first, (*alive, 1), beaten, votes, left - 1)
    if beaten:
        weight = votes - _DISCOUNT * beaten
        chance += weight * _holds(first, alive, beaten, votes + 1, left - 1)
    for k, v in enumerate(alive):
        # Of equal ones the first grows, which keeps the order.
        if k == 0 or v < alive[k - 1]:
            grown = (*alive[:k], v + 1, *alive[k + 1 :])
            weight = alive.count(v) * (v - _DISCOUNT)
            chance += weight * _holds(first, grown, beaten, votes, left - 1)
    return chance / total


def should_stop(counts: Sequence[float], left: int, stop: Stop | None) -> bool:
    """Whether a vote may end before everyone was asked.

    Args:
        counts: votes of each answer so far, one each.
        left: voters still to come.
        stop: ``"decided"``: once no one can change the winner; a probability: also once it is at
            least so probable that nobody will; ``None``: never.
    """
    if stop is None:
        return False
    if decided(counts, left):
        return True
    return stop != "decided" and hold_probability(counts, left) >= stop


def check_stop(stop: object) -> None:
    """Raise unless ``stop`` is a rule for ending a vote.

    Raises:
        ValueError: it is none.
    """
    if stop is None or stop == "decided" or (isinstance(stop, float) and 0.5 < stop < 1):
        return
    raise ValueError(
        f"got stop={stop!r}; allowed are 'decided', a probability between 0.5 and 1 such as 0.93, "
        "and None"
    )


def _leaders(counts: Sequence[float]) -> tuple[float, float]:
    first, second = sorted([*counts, 0.0, 0.0], reverse=True)[:2]
    return first, second


def _check(answers: Sequence[str | None], weights: Sequence[float]) -> None:
    if not answers:
        raise ValueError("got no answers to vote over; pass at least one candidate's answer")
    if len(weights) != len(answers):
        raise ValueError(
            f"got {len(weights)} weights for {len(answers)} answers; pass one weight an answer"
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
