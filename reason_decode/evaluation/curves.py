"""Accuracy against the number of samples N, for every N from one pool of samples per problem.

N samples are drawn from the pool without replacement and in random order, and one is chosen. Each
curve is the expected accuracy of the choice: a pool of 256 samples gives the curve from N = 1 to
256, with less noise than one draw for each N. Of equal candidates the first drawn is chosen, as in
``rerank`` and ``voting``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reason_decode.core.answers import same_answer
from reason_decode.evaluation.metrics import pass_at_k

__all__ = [
    "SamplePool",
    "accuracy_curves",
    "answer_ids",
    "best_of_n_curve",
    "pass_curve",
    "vote_curve",
]


@dataclass(frozen=True)
class SamplePool:
    """Graded and scored samples of one problem.

    Args:
        correct: whether each sample is right.
        answers: id of each sample's answer, the same for equal answers, see ``answer_ids``;
            ``None`` for a sample without an answer.
        scores: name of a score -> the score of each sample, higher is better.

    Raises:
        ValueError: no samples, lists of unequal length, or a score that is not finite.

    Examples:
        >>> SamplePool([True, False], [0, 1], {"prm": [0.9, 0.2]}).scores["prm"]
        [0.9, 0.2]
    """

    correct: Sequence[bool]
    answers: Sequence[int | None]
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_lengths(self.correct, answers=self.answers, **self.scores)
        for name, scores in self.scores.items():
            _check_finite(name, scores)


def accuracy_curves(
    problems: Sequence[SamplePool],
    counts: Sequence[int],
    *,
    vote_weights: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, list[list[float]]]:
    """Curves of pass@N, majority votes, best of N and weighted votes, of every problem.

    Args:
        problems: the pools, all with the same scores.
        counts: the N, each at least 1 and at most the size of the smallest pool.
        vote_weights: names of the scores by which votes are weighted; these scores are at least 0.
        draws: number of random orders over which votes are averaged.
        seed: seed of these orders; all votes of a problem are taken in the same orders.

    Returns:
        ``pass@N``, ``majority``, the name of each score (best of N by it) and ``<name> vote`` for
        those of ``vote_weights`` -> for each problem its expected accuracy at each N.
        ``metrics.bootstrap`` and ``metrics.paired_bootstrap`` give intervals of them.

    Raises:
        ValueError: no problems, one has other scores than the first, ``vote_weights`` names an
            unknown score, an N is out of range, or a weight is below 0.

    Examples:
        >>> pool = SamplePool([True, False, False], [0, 1, 1], {"prm": [0.9, 0.5, 0.3]})
        >>> curves = accuracy_curves([pool], [3], vote_weights=["prm"])
        >>> {name: values[0] for name, values in curves.items()}
        {'pass@N': [1.0], 'majority': [0.0], 'prm': [1.0], 'prm vote': [1.0]}
    """
    names = _shared_names(problems, vote_weights)
    curves: dict[str, list[list[float]]] = {"pass@N": [], "majority": []}
    for k, pool in enumerate(problems):
        found = {"pass@N": pass_curve(pool.correct, counts)}
        votes = {"majority": None, **{f"{name} vote": pool.scores[name] for name in vote_weights}}
        for name in names:
            found[name] = best_of_n_curve(pool.correct, pool.scores[name], counts)
        for name, weights in votes.items():
            found[name] = vote_curve(
                pool.correct, pool.answers, counts, weights=weights, draws=draws, seed=seed + k
            )
        for name, values in found.items():
            curves.setdefault(name, []).append(values)
    return curves


def answer_ids(answers: Sequence[str | None]) -> list[int | None]:
    """Ids of answers, the same for equal answers, in order of first appearance.

    Args:
        answers: the answer of each sample, ``None`` if it has none. An answer is compared with the
            first answer of each id, as in ``voting.weighted_vote``.

    Raises:
        ImportError: answers with LaTeX are to be compared and math-verify is not installed.

    Examples:
        >>> answer_ids(["1/2", None, "7", "0.5"])
        [0, None, 1, 0]
    """
    heads: list[str] = []
    known: dict[str | None, int | None] = {None: None}
    for answer in answers:
        if answer is None or answer in known:
            continue
        same = (k for k, head in enumerate(heads) if same_answer(head, answer))
        known[answer] = next(same, len(heads))
        if known[answer] == len(heads):
            heads.append(answer)
    return [known[answer] for answer in answers]


def pass_curve(correct: Sequence[bool], counts: Sequence[int]) -> list[float]:
    """Probability that any of N samples is right; exact, see ``pass_at_k``.

    Args:
        correct: whether each sample of the pool is right.
        counts: the N, each at least 1 and at most the size of the pool.

    Raises:
        ValueError: an N is larger than the pool.
    """
    _check_counts(counts, len(correct))
    return [pass_at_k(len(correct), sum(correct), n) for n in counts]


def best_of_n_curve(
    correct: Sequence[bool], scores: Sequence[float], counts: Sequence[int]
) -> list[float]:
    """Probability that the sample of the highest score among N is right; exact.

    ``sum_c right_c (C(below_c + size_c, N) - C(below_c, N)) / C(n, N)`` over the classes c of equal
    scores, where ``right_c`` is the share of right samples in a class and ``below_c`` the number of
    samples with a lower score. The best of N is of class c if all N score at most as high as c, and
    not all of them lower.

    Args:
        correct: whether each sample of the pool is right.
        scores: finite score of each sample.
        counts: the N, each at least 1 and at most the size of the pool.

    Raises:
        ValueError: the lists differ in length, a score is not finite, or an N is larger than
            the pool.

    Source: Lightman et al. 2023, 2305.20050, figure 3, draws the same curve by subsampling.

    Examples:
        >>> best_of_n_curve([True, False, False], [0.9, 0.5, 0.5], [1, 2, 3])
        [0.3333333333333333, 0.6666666666666666, 1.0]
    """
    _check_lengths(correct, scores=scores)
    _check_finite("scores", scores)
    _check_counts(counts, len(correct))
    classes: dict[float, list[bool]] = {}
    for score, right in sorted(zip(scores, correct, strict=True), key=lambda pair: pair[0]):
        classes.setdefault(score, []).append(right)
    curve: list[float] = []
    for n in counts:
        below, terms = 0, []
        for rights in classes.values():
            ways = math.comb(below + len(rights), n) - math.comb(below, n)
            terms.append(ways * sum(rights) / (len(rights) * math.comb(len(correct), n)))
            below += len(rights)
        curve.append(math.fsum(terms))
    return curve


def vote_curve(
    correct: Sequence[bool],
    answers: Sequence[int | None],
    counts: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> list[float]:
    """Share of random orders of the pool in which a vote of the first N samples is right.

    The samples vote as in ``voting.weighted_vote``, which chooses the heaviest voter of the winning
    answer. Every sample is the first of equally many orders, so that N = 1 gives the
    share of right samples exactly.

    Args:
        correct: whether each sample of the pool is right.
        answers: id of each sample's answer; a sample with ``None`` does not vote.
        counts: the N, each at least 1 and at most the size of the pool.
        weights: weight of each sample's vote, finite and at least 0; ``None``: one vote each.
        draws: number of orders, rounded up to a multiple of the pool.
        seed: seed of the orders.

    Raises:
        ValueError: the lists differ in length, a weight or ``draws`` is not allowed, or an N is
            larger than the pool.
    """
    weights = [1.0] * len(correct) if weights is None else weights
    _check_lengths(correct, answers=answers, weights=weights)
    _check_weights(weights)
    _check_counts(counts, len(correct))
    orders = _orders(len(correct), draws, seed)
    right = torch.tensor(correct, dtype=torch.float64)
    # Group 0 are the samples without an answer.
    group = torch.tensor([0 if answer is None else 1 + answer for answer in answers])
    weight = torch.tensor(weights, dtype=torch.float64)
    return [right[_vote_winners(group, weight, orders[:, :n])].mean().item() for n in counts]


def _orders(size: int, draws: int, seed: int) -> Tensor:
    """Random orders of the pool, (w, size) int64; each sample comes first in equally many."""
    if draws < 1:
        raise ValueError(f"got draws={draws}; need at least 1")
    rows = size * math.ceil(draws / size)
    keys = torch.rand(rows, size, generator=torch.Generator().manual_seed(seed))
    keys[torch.arange(rows), torch.arange(rows) % size] = -1
    return keys.argsort(1)


def _vote_winners(group: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    """Winning samples (w,) of w votes.

    Args:
        group: (n,) answer id + 1 of each sample, 0 without an answer.
        weight: (n,) weight of each sample's vote.
        order: (w, N) the samples that vote, in order.
    """
    voted, votes = group[order], weight[order]
    rows, voters = order.shape
    groups = int(group.max()) + 1
    sums = torch.zeros(rows, groups, dtype=votes.dtype).scatter_add_(1, voted, votes)
    first = torch.full((rows, groups), voters)
    first.scatter_reduce_(1, voted, torch.arange(voters).expand(rows, -1), "amin")
    # No answer (-1) loses to every answer, even of weight 0; it beats answers nobody gave (-2).
    sums[:, 0] = -1
    sums.masked_fill_(first == voters, -2)
    loses = sums < sums.max(1, keepdim=True).values
    winner = first.masked_fill(loses, voters).argmin(1, keepdim=True)
    # argmax returns the first of equals.
    chosen = votes.masked_fill(voted != winner, -1).argmax(1, keepdim=True)
    return order.gather(1, chosen).squeeze(1)


def _shared_names(problems: Sequence[SamplePool], vote_weights: Sequence[str]) -> list[str]:
    if not problems:
        raise ValueError("got no problems; pass at least one problem with samples")
    names = list(problems[0].scores)
    for k, pool in enumerate(problems):
        if set(pool.scores) != set(names):
            raise ValueError(
                f"problem {k} has the scores {sorted(pool.scores)}, the first one {sorted(names)}; "
                "give all problems the same scores"
            )
    if unknown := sorted(set(vote_weights) - set(names)):
        raise ValueError(f"got vote_weights={unknown}; allowed are the names of scores: {names}")
    return names


def _check_lengths(correct: Sequence[bool], **lists: Sequence[object]) -> None:
    if not correct:
        raise ValueError("got a pool without samples; pass at least one")
    for name, values in lists.items():
        if len(values) != len(correct):
            raise ValueError(
                f"got {len(values)} {name} for {len(correct)} samples; pass one for each sample"
            )


def _check_finite(name: str, scores: Sequence[float]) -> None:
    for i, score in enumerate(scores):
        if not math.isfinite(score):
            raise ValueError(
                f"sample {i} has {score} in {name}; scores must be finite: check the scorer's "
                "weights and dtype"
            )


def _check_weights(weights: Sequence[float]) -> None:
    for i, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"sample {i} has the weight {weight}; a vote needs finite weights of at least 0: "
                "use probabilities"
            )


def _check_counts(counts: Sequence[int], size: int) -> None:
    for n in counts:
        if not 1 <= n <= size:
            raise ValueError(f"got N={n} with a pool of {size} samples; allowed are 1 to {size}")
