"""Accuracy against the number of samples N, every N from one pool of samples a problem.

N samples are drawn from a problem's pool without return and in random order; each curve is the
accuracy expected of what is then picked. So a pool of 256 tells of N = 1 to 256, and with less
noise than one draw a N would. Of equal candidates the first drawn is picked, as ``rerank`` and
``voting`` do; in expectation equals share.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reason_decode.core.answers import same_answer
from reason_decode.evaluation.metrics import pass_at_k

__all__ = [
    "Samples",
    "accuracy_curves",
    "answer_numbers",
    "best_of_n_curve",
    "pass_curve",
    "vote_curve",
]


@dataclass(frozen=True)
class Samples:
    """One problem's pool.

    Args:
        correct: whether each sample is right.
        answers: the number of each sample's answer, equal for equal answers; ``None`` for none. See
            ``answer_numbers``.
        scores: name of a way to score -> one number a sample, higher is better.

    Raises:
        ValueError: no samples, lists of unequal length, or a score that is not finite.
    """

    correct: Sequence[bool]
    answers: Sequence[int | None]
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_lengths(self.correct, answers=self.answers, **self.scores)
        for name, scores in self.scores.items():
            _check_finite(name, scores)


def accuracy_curves(
    problems: Sequence[Samples],
    counts: Sequence[int],
    *,
    weigh: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, list[list[float]]]:
    """Every curve of every problem.

    Args:
        problems: pools, all scored in the same ways.
        counts: the N, each at least 1 and at most the smallest pool.
        weigh: names of scores by which votes are weighed too; these are at least 0.
        draws: orders in which each vote is held.
        seed: of these orders; a problem's votes all see the same ones.

    Returns:
        ``pass@N``, ``majority``, each score's name (best of N by it) and ``<name> vote`` for those
        of ``weigh`` -> for each problem its expected accuracy at each N. ``metrics.bootstrap``
        and ``metrics.gains`` make intervals of them.

    Raises:
        ValueError: no problems, one has other scores than the first, ``weigh`` names none of them,
            an N does not fit, or a weight is below 0.

    Example:
        >>> pool = Samples([True, False, False], [0, 1, 1], {"prm": [0.9, 0.5, 0.3]})
        >>> curves = accuracy_curves([pool], [3], weigh=["prm"])
        >>> {name: values[0] for name, values in curves.items()}
        {'pass@N': [1.0], 'majority': [0.0], 'prm': [1.0], 'prm vote': [1.0]}
    """
    names = _shared_names(problems, weigh)
    curves: dict[str, list[list[float]]] = {"pass@N": [], "majority": []}
    for k, pool in enumerate(problems):
        found = {"pass@N": pass_curve(pool.correct, counts)}
        votes = {"majority": None, **{f"{name} vote": pool.scores[name] for name in weigh}}
        for name in names:
            found[name] = best_of_n_curve(pool.correct, pool.scores[name], counts)
        for name, weights in votes.items():
            found[name] = vote_curve(
                pool.correct, pool.answers, counts, weights=weights, draws=draws, seed=seed + k
            )
        for name, values in found.items():
            curves.setdefault(name, []).append(values)
    return curves


def answer_numbers(answers: Sequence[str | None]) -> list[int | None]:
    """The same number for answers that say the same, in order of first appearance.

    Args:
        answers: one a sample, ``None`` where it gave none. Each joins the first whose first member
            it equals, as in ``voting.weighted``.

    Raises:
        ImportError: answers with LaTeX are to be compared and math-verify is not installed.

    Example:
        >>> answer_numbers(["1/2", None, "7", "0.5"])
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
    """The chance that any of N samples is right; exact, see ``pass_at_k``.

    Args:
        correct: whether each sample of the pool is right.
        counts: the N, each at least 1 and at most the pool.

    Raises:
        ValueError: an N does not fit the pool.
    """
    _check_counts(counts, len(correct))
    return [pass_at_k(len(correct), sum(correct), n) for n in counts]


def best_of_n_curve(
    correct: Sequence[bool], scores: Sequence[float], counts: Sequence[int]
) -> list[float]:
    """The chance that the best scored of N samples is right; exact.

    ``sum_c right_c (C(below_c + size_c, N) - C(below_c, N)) / C(n, N)`` over the classes c of equal
    scores, where ``right_c`` is the share of right samples in a class and ``below_c`` the number of
    samples of lower score: the best of N lies in c if all N are of it or below, and not all below.

    Args:
        correct: whether each sample of the pool is right.
        scores: one a sample, finite.
        counts: the N, each at least 1 and at most the pool.

    Raises:
        ValueError: the lists differ in length, a score is not finite or an N does not fit the pool.

    Source: Lightman et al. 2023, 2305.20050, figure 3, draws the same curve by subsampling.

    Example:
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
        below, chances = 0, []
        for rights in classes.values():
            ways = math.comb(below + len(rights), n) - math.comb(below, n)
            chances.append(ways * sum(rights) / (len(rights) * math.comb(len(correct), n)))
            below += len(rights)
        curve.append(math.fsum(chances))
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
    """How often a vote of N samples shows a right one, over random orders of the pool.

    Each order's first N samples vote as in ``voting.weighted``, which shows the heaviest voter of
    the winning answer. Every sample is the first of equally many orders, so that N = 1 gives the
    share of right samples exactly.

    Args:
        correct: whether each sample of the pool is right.
        answers: the number of each sample's answer; ``None`` does not vote.
        counts: the N, each at least 1 and at most the pool.
        weights: of the votes, finite and at least 0; ``None``: one vote each.
        draws: orders; taken up to the next multiple of the pool.
        seed: of the orders.

    Raises:
        ValueError: the lists differ in length, a weight or ``draws`` is not allowed, or an N does
            not fit the pool.
    """
    heavy = [1.0] * len(correct) if weights is None else weights
    _check_lengths(correct, answers=answers, weights=heavy)
    _check_weights(heavy)
    _check_counts(counts, len(correct))
    orders = _orders(len(correct), draws, seed)
    right = torch.tensor(correct, dtype=torch.float64)
    # 0 stands for no answer.
    group = torch.tensor([0 if answer is None else 1 + answer for answer in answers])
    weight = torch.tensor(heavy, dtype=torch.float64)
    return [right[_elected(group, weight, orders[:, :n])].mean().item() for n in counts]


def _orders(size: int, draws: int, seed: int) -> Tensor:
    """Random orders of the pool, (w, size) int64; every sample is the first of equally many."""
    if draws < 1:
        raise ValueError(f"got draws={draws}; need at least 1")
    rows = size * math.ceil(draws / size)
    keys = torch.rand(rows, size, generator=torch.Generator().manual_seed(seed))
    keys[torch.arange(rows), torch.arange(rows) % size] = -1
    return keys.argsort(1)


def _elected(group: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    """The sample (w,) that each vote shows, given the voters of each in order, (w, n)."""
    voted, votes = group[order], weight[order]
    rows, voters = order.shape
    groups = int(group.max()) + 1
    sums = torch.zeros(rows, groups, dtype=votes.dtype).scatter_add_(1, voted, votes)
    first = torch.full((rows, groups), voters)
    first.scatter_reduce_(1, voted, torch.arange(voters).expand(rows, -1), "amin")
    # No answer wins only over answers that nobody gave; an answer of weight 0 wins over both.
    sums[:, 0] = -1
    sums.masked_fill_(first == voters, -2)
    behind = sums < sums.max(1, keepdim=True).values
    winner = first.masked_fill(behind, voters).argmin(1, keepdim=True)
    # argmax gives the first of equals.
    shown = votes.masked_fill(voted != winner, -1).argmax(1, keepdim=True)
    return order.gather(1, shown).squeeze(1)


def _shared_names(problems: Sequence[Samples], weigh: Sequence[str]) -> list[str]:
    if not problems:
        raise ValueError("got no problems; pass at least one problem with samples")
    names = list(problems[0].scores)
    for k, pool in enumerate(problems):
        if set(pool.scores) != set(names):
            raise ValueError(
                f"problem {k} has the scores {sorted(pool.scores)}, the first one {sorted(names)}; "
                "score all problems in the same ways"
            )
    if unknown := sorted(set(weigh) - set(names)):
        raise ValueError(f"got weigh={unknown}; allowed are the names of scores: {names}")
    return names


def _check_lengths(correct: Sequence[bool], **lists: Sequence[object]) -> None:
    if not correct:
        raise ValueError("got a pool without samples; pass at least one")
    for name, values in lists.items():
        if len(values) != len(correct):
            raise ValueError(
                f"got {len(values)} {name} for {len(correct)} samples; pass one a sample"
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
