"""VoteResult: who wins, who ties, who never wins, what is refused."""

import math

import pytest

from reason_decode.core.voting import (
    VoteResult,
    check_early_stop,
    hold_probability,
    is_decided,
    majority_vote,
    should_stop,
    weighted_vote,
)


def test_majority_counts_equal_answers_together():
    votes = majority_vote(["2", "1/2", "0.5", "2", "50%"])
    assert votes == VoteResult("1/2", {"2": 2.0, "1/2": 3.0}, (1, 2, 4), 1)


def test_a_tie_goes_to_the_answer_that_appeared_first():
    assert majority_vote(["b", "a", "a", "b"]).answer == "b"
    assert weighted_vote(["b", "a"], [0.0, 0.0]).answer == "b"


def test_none_wins_only_when_nobody_answers():
    assert majority_vote([None, None, "7"]) == VoteResult("7", {"7": 1.0}, (2,), 2)
    assert weighted_vote([None, "7"], [9.0, 0.0]).answer == "7"
    assert weighted_vote([None, None], [0.1, 0.2]) == VoteResult(None, {}, (0, 1), 1)


def test_weights_decide_and_the_heaviest_voter_represents():
    votes = weighted_vote(["1", "2", "1", "2", "2"], [0.9, 0.5, 0.9, 0.6, 0.6])
    assert votes.answer == "1"
    assert weighted_vote(["1", "2", "2", "2"], [0.9, 0.25, 0.5, 0.5]).representative == 2


def test_equal_weights_are_a_majority():
    answers = ["3", None, "4", "8/2", "3", "4"]
    assert weighted_vote(answers, [1.0] * 6) == majority_vote(answers)


def test_the_sum_does_not_depend_on_the_order_of_voters():
    weights = [0.1] * 10 + [1e16, 1.0]
    forward = weighted_vote(["a"] * 12, weights).weights["a"]
    assert forward == weighted_vote(["a"] * 12, weights[::-1]).weights["a"] == math.fsum(weights)


def test_accepts_a_custom_equality():
    assert majority_vote(["Cat", "car", "dog"], same=lambda a, b: a[0] == b[0]).weights == {
        "Cat": 1.0,
        "car": 1.0,
        "dog": 1.0,
    }
    assert (
        majority_vote(["cat", "car", "dog"], same=lambda a, b: a[0] == b[0]).weights["cat"] == 2.0
    )


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, -0.5])
def test_rejects_weights_that_are_negative_or_not_finite(weight: float):
    with pytest.raises(ValueError, match="candidate 1 has the weight"):
        weighted_vote(["a", None], [1.0, weight])


def test_rejects_unequal_lengths_and_empty_votes():
    with pytest.raises(ValueError, match="got 1 weights for 2 answers"):
        weighted_vote(["a", "b"], [1.0])
    with pytest.raises(ValueError, match="got no answers"):
        majority_vote([])


def test_a_vote_is_decided_when_the_rest_cannot_change_it():
    assert is_decided([3.0, 1.0], remaining=1)
    assert not is_decided([3.0, 1.0], remaining=2)
    assert is_decided([1.0], remaining=0)
    assert not is_decided([], remaining=0)


def _held(counts: tuple[int, ...], left: int) -> float:
    """The leader's chance, by every way in which the votes to come may be given."""
    if left == 0:
        return float(counts[0] >= max(counts))
    # The last is an answer that nobody has named so far.
    weights = [v - 0.5 for v in counts] + [0.5 + 0.5 * len(counts)]
    futures = [(*counts[:k], v + 1, *counts[k + 1 :]) for k, v in enumerate(counts)]
    futures.append((*counts, 1))
    ways = zip(weights, futures, strict=True)
    return sum(weight * _held(after, left - 1) for weight, after in ways) / sum(weights)


@pytest.mark.parametrize("left", [0, 1, 2, 5])
@pytest.mark.parametrize("counts", [(4,), (5, 2), (2, 2), (2, 1, 1, 1), (7, 3, 1)])
def test_hold_probability_sums_over_all_future_votes(counts: tuple[int, ...], left: int) -> None:
    found = hold_probability([float(v) for v in counts[::-1]], left)
    assert found == pytest.approx(_held(counts, left), abs=1e-12)


@pytest.mark.parametrize("counts", [[4.0], [5.0, 2.0], [2.0, 2.0], [1.0, 3.0, 7.0]])
def test_hold_probability_of_many_voters_is_the_beta_integral(
    counts: list[float],
) -> None:
    left = 30
    first, second = sorted([*counts, 0.0, 0.0])[-1:-3:-1]
    total = held = 0.0
    for k in range(1, 2000):
        p = k / 2000
        density = p**first * (1 - p) ** second
        total += density
        held += density * sum(
            math.comb(left, x) * p**x * (1 - p) ** (left - x)
            for x in range(left + 1)
            if first + x >= second + left - x
        )
    assert hold_probability(counts, left) == pytest.approx(held / total, abs=1e-3)


def test_hold_probability_has_the_published_limits() -> None:
    assert hold_probability([3.0, 1.0], remaining=0) == 1.0
    # P(p > 1/2) for p ~ Beta(4, 2), by 5 coins of which at most 3 show heads.
    assert hold_probability([3.0, 1.0], remaining=2000) == pytest.approx(26 / 32, abs=1e-3)
    assert hold_probability([], remaining=3) == 0.0


def test_early_stop_rules_stop_at_their_threshold() -> None:
    assert not should_stop([9.0], remaining=0, early_stop=None)
    assert should_stop([2.0], remaining=6, early_stop=0.9)
    assert not should_stop([1.0], remaining=7, early_stop=0.9)
    assert not should_stop([2.0], remaining=6, early_stop="decided")
    assert should_stop([2.0, 1.0], remaining=0, early_stop=0.9)


@pytest.mark.parametrize("stop", [0.5, 1.0, 1, "soon", True])
def test_rejects_unknown_early_stop_rules(stop: object):
    with pytest.raises(ValueError, match="allowed are 'decided', a probability"):
        check_early_stop(stop)
