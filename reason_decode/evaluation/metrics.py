"""Accuracy, pass@k, and confidence intervals of both."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = [
    "Estimate",
    "accuracy_interval",
    "bootstrap",
    "crossed_bootstrap",
    "paired_bootstrap",
    "pass_at_k",
]

# The 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


class Estimate(NamedTuple):
    """A mean over problems with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def accuracy_interval(correct: int, items: int) -> tuple[float, float]:
    """95 % Wilson score interval of an accuracy ``p = correct / items``.

    ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)`` with n items and z = 1.96.

    Args:
        correct: number of right items.
        items: number of items.

    Returns:
        Lower and upper bound, within [0, 1].

    Raises:
        ValueError: no items, or ``correct`` is not within 0..items.

    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    if items < 1 or not 0 <= correct <= items:
        raise ValueError(f"got {correct} right of {items}; need 0 <= correct <= items, items >= 1")
    share = correct / items
    centre = share + _Z**2 / (2 * items)
    half = _Z * math.sqrt(share * (1 - share) / items + (_Z / (2 * items)) ** 2)
    scale = 1 + _Z**2 / items
    # At 0 and 1 one bound is the share itself, up to rounding, which could leave [0, 1].
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == items else (centre + half) / scale
    return low, high


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that k samples, drawn without replacement, include a right one.

    ``1 - C(samples - correct, k) / C(samples, k)``, computed in integers.

    Args:
        samples: number of samples of one problem.
        correct: number of right ones among them.
        k: number of samples drawn.

    Raises:
        ValueError: not ``0 <= correct <= samples`` or not ``1 <= k <= samples``.

    Source: Chen et al. 2021, 2107.03374, equation 1.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(
            f"got samples={samples}, correct={correct}, k={k}; need 0 <= correct <= samples and "
            "1 <= k <= samples"
        )
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def bootstrap(
    values: Sequence[Sequence[float]], *, resamples: int = 10_000, seed: int = 0
) -> list[Estimate]:
    """Mean over problems of each column, with the 95 % percentile bootstrap interval.

    The interval is between the 2.5 % and the 97.5 % quantile of the mean of as many problems, drawn
    with replacement. It has no width if all problems have the same value.

    Args:
        values: one row per problem, one column per N.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: no problems, or rows of unequal length.

    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife.
    """
    if not values or len(set(map(len, values))) != 1:
        lengths = sorted(set(map(len, values)))
        raise ValueError(
            f"got {len(values)} problems with {lengths} values; need one or more, all of one length"
        )
    table = torch.tensor(values, dtype=torch.float64)
    problems = len(table)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(problems, (resamples, problems), generator=generator)
    times = torch.zeros(resamples, problems, dtype=table.dtype)
    times.scatter_add_(1, drawn, torch.ones_like(times))
    means = times @ table / problems
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=table.dtype), dim=0)
    columns = zip(table.mean(0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(*column) for column in columns]


def crossed_bootstrap(
    values: Sequence[Sequence[float]], *, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Mean over runs and problems, with a 95 % interval for other runs and other problems.

    Runs and problems are drawn with replacement, independently of each other. The interval is
    between the 2.5 % and the 97.5 % quantile of the mean over the cells of both draws. With a
    single run only the problems vary. For the differences of two methods, cell by cell, it is the
    interval of their mean difference.

    Args:
        values: one row per run, such as a seed, and one column per problem.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: no runs, no problems, or rows of unequal length.

    Source: Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2).
    """
    if not values or not values[0] or len(set(map(len, values))) != 1:
        raise ValueError(
            f"got {len(values)} runs with {sorted(set(map(len, values)))} problems; need one or "
            "more of each, and as many in each run"
        )
    table = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    times: list[torch.Tensor] = []
    for size in table.shape:
        drawn = torch.randint(size, (resamples, size), generator=generator)
        ones = torch.ones_like(drawn, dtype=table.dtype)
        times.append(torch.zeros_like(ones).scatter_add_(1, drawn, ones))
    means = (times[0] @ table * times[1]).sum(1) / table.numel()
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=table.dtype)).tolist()
    return Estimate(table.mean().item(), low, high)


def paired_bootstrap(
    values: Sequence[Sequence[float]],
    others: Sequence[Sequence[float]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Estimate]:
    """Mean difference of two curves at each N, with its 95 % interval; see ``bootstrap``.

    The difference is taken problem by problem, which cancels the difficulty of a problem: two
    curves whose own intervals overlap can differ significantly.

    Args:
        values: first curve: one row per problem, one column per N.
        others: second curve, of the same problems and N.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: the curves are of other problems or N.
    """
    if [*map(len, values)] != [*map(len, others)]:
        raise ValueError(
            f"got {len(values)} and {len(others)} problems, or problems with more or fewer values; "
            "compare curves of the same problems at the same N"
        )
    pairs = zip(values, others, strict=True)
    differences = [[x - y for x, y in zip(a, b, strict=True)] for a, b in pairs]
    return bootstrap(differences, resamples=resamples, seed=seed)
