"""Shares of right answers, and how sure one can be of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = [
    "Estimate",
    "accuracy_interval",
    "bootstrap",
    "crossed_bootstrap",
    "gains",
    "pass_at_k",
]

# The 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


class Estimate(NamedTuple):
    """A mean over problems and the interval it lies in."""

    mean: float
    low: float
    high: float


def accuracy_interval(correct: int, items: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share ``p = correct / items``.

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
    # At 0 and at 1 the bound is the share itself, which rounding may miss by a hair.
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == items else (centre + half) / scale
    return low, high


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The chance that k of the samples, drawn without return, hold a right one.

    ``1 - C(samples - correct, k) / C(samples, k)``, computed in whole numbers.

    Args:
        samples: number of samples of one problem.
        correct: number of right ones among them.
        k: number drawn.

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
    """The mean over problems at each N and its 95 % interval, were other problems drawn.

    The percentile bootstrap over problems: the 2.5 % and 97.5 % quantiles of the mean of as many
    problems drawn with return. Where every problem comes out alike it has no width.

    Args:
        values: one problem a row, one N a column.
        resamples: how often problems are drawn.
        seed: of the draws.

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
    """The mean over runs and problems and its 95 % interval, were both others.

    Runs and problems are drawn with return, each by itself; an interval is the 2.5 % and 97.5 %
    quantiles of the mean of what both draws hold. Of one run only problems vary. Of differences
    between two ways, problem by problem, it is the interval of what one gains.

    Args:
        values: one run (a seed, say) a row, one problem a column.
        resamples: how often both are drawn.
        seed: of the draws.

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


def gains(
    values: Sequence[Sequence[float]],
    others: Sequence[Sequence[float]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Estimate]:
    """How much higher the first curve lies than the second, with the interval of the difference.

    Paired: problem by problem, so that what makes a problem hard for both cancels. Two curves whose
    own intervals overlap may well differ for sure.

    Args:
        values: one problem a row, one N a column.
        others: the same problems, the same N.
        resamples: how often problems are drawn.
        seed: of the draws.

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
