"""Weights of votes learnt from graded samples: a formula for any scorer."""

from collections.abc import Sequence
from typing import Any

from reason_decode.core.vote_formula import LearnedWeights
from reason_decode.core.voting import vote_weights
from reason_decode.evaluation.answer_calibration import fit_calibration
from reason_decode.evaluation.curves import SamplePool
from reason_decode.evaluation.metrics import bootstrap, paired_bootstrap

__all__ = ["fit_vote_weights", "vote_weights_report", "weighted_accuracy"]

_BASES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)
_TIE = 1e-9


def fit_vote_weights(pools: Sequence[SamplePool], score: str = "score") -> LearnedWeights:
    """The weights ``base + sigmoid(slope * s + intercept)`` by which most votes are right.

    The sigmoid is fitted to the samples with an answer (Platt), then the base is the one of ten of
    highest accuracy, the greatest of equal ones, which is nearest to the plain vote.

    Args:
        pools: the samples of problems.
        score: name of their score.

    Raises:
        ValueError: fewer than two samples with an answer.
    """
    rows = [
        (pool.scores[score][k], pool.correct[k])
        for pool in pools
        for k, answer in enumerate(pool.answers)
        if answer is not None
    ]
    values, correct = [float(s) for s, _ in rows], [bool(right) for _, right in rows]
    platt = fit_calibration(values, correct, value=score, method="platt")
    tried = [LearnedWeights(base, platt.slope, platt.intercept) for base in _BASES]
    found = [sum(weighted_accuracy(p, w.weights([*p.scores[score]])) for p in pools) for w in tried]
    best = max(range(len(tried)), key=lambda k: (round(found[k], 9), tried[k].base))
    return tried[best]


def weighted_accuracy(pool: SamplePool, weights: Sequence[float]) -> float:
    """Share of right answers among those that win a weighted vote; 0 where nobody has an answer.

    Args:
        pool: the samples of a problem.
        weights: that of each sample.
    """
    sums: dict[int, float] = {}
    right: dict[int, bool] = {}
    for answer, correct, weight in zip(pool.answers, pool.correct, weights, strict=True):
        if answer is not None:
            sums[answer] = sums.get(answer, 0.0) + weight
            right.setdefault(answer, correct)
    if not sums:
        return 0.0
    first = [answer for answer, x in sums.items() if x >= max(sums.values()) - _TIE]
    return sum(right[answer] for answer in first) / len(first)


def vote_weights_report(
    pools: Sequence[SamplePool], score: str = "score", *, folds: int = 5
) -> dict[str, Any]:
    """Accuracies of votes on problems that the weights were not learnt on.

    Problem i is voted on with weights that were learnt on the other folds; it is in fold
    ``i mod folds``.

    Args:
        pools: the samples of problems.
        score: name of their score.
        folds: number of folds.

    Returns:
        ``problems``, and ``vote``, ``learnt`` and, of scores in [0, 1], ``s`` and ``1+s``: each
        ``accuracy`` with ``ci95``, and ``beside_vote`` with its bounds, paired.

    Raises:
        ValueError: fewer problems than folds, or too few samples.
    """
    if len(pools) < folds:
        raise ValueError(f"got {len(pools)} problems for {folds} folds; give more, or fewer folds")
    learnt: list[float] = [0.0] * len(pools)
    for fold in range(folds):
        rest = [pool for k, pool in enumerate(pools) if k % folds != fold]
        fitted = fit_vote_weights(rest, score)
        for k in range(fold, len(pools), folds):
            learnt[k] = weighted_accuracy(pools[k], fitted.weights([*pools[k].scores[score]]))
    vote = [weighted_accuracy(pool, [1.0] * len(pool.answers)) for pool in pools]
    ways = {"vote": vote, "learnt": learnt}
    if all(0 <= s <= 1 for pool in pools for s in pool.scores[score]):
        for name in ("s", "1+s"):
            ways[name] = [
                weighted_accuracy(pool, vote_weights(pool.scores[score], name)) for pool in pools
            ]
    return {"problems": len(pools), **{name: _summary(x, vote) for name, x in ways.items()}}


def _summary(values: Sequence[float], vote: Sequence[float]) -> dict[str, Any]:
    columns, others = [[x] for x in values], [[x] for x in vote]
    (own,), (more,) = bootstrap(columns), paired_bootstrap(columns, others)
    return {
        "accuracy": own.mean,
        "ci95": [own.low, own.high],
        "beside_vote": [more.mean, more.low, more.high],
    }
