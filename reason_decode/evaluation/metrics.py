"""Shares of right answers, and how sure one can be of them."""

import math

__all__ = ["accuracy_interval", "pass_at_k"]

# The 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


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
