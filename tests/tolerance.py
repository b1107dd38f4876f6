"""Tolerances for the same numbers computed in two ways, on any CPU.

A float of ``p`` bits is rounded by up to ``u = 2 ** -p`` of itself: 2 ** -24 in float32. A sum of
``n`` terms is rounded ``n`` times, each time by up to ``u`` of what has been added up so far, which
is no more than the sum of the terms' magnitudes. CPUs differ in how many terms they add at once, so
in the order of the additions and in all of these errors, which know nothing of one another and grow
like a random walk: to ``sqrt(n) * u`` of the sum of the magnitudes.

So a tolerance here is ``sqrt(terms) * 2 * u * scale``, for both ways err, and a test says what the
terms and the scale are. Errors that were seen are a tenth of it: what has been added up so far is
mostly far less than the sum of the magnitudes. There is no tolerance without a scale: 1e-5 is a bug
beside a probability of 1e-4, and a single rounding beside a sum of 100.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def roundings(model: nn.Module) -> int:
    """Additions in a row between the ids and what a model says: a row's of every matrix.

    Of the packaged models 10,176, for a tolerance of 1.2e-5 of the scale.
    """
    return sum(x.shape[-1] for x in model.parameters() if x.dim() > 1)


def tolerance(terms: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """Largest difference between sums of ``terms`` terms whose magnitudes add up to ``scale``."""
    return math.sqrt(terms) * torch.finfo(dtype).eps * scale  # 2 * u is what torch calls eps


def assert_close(
    found: Any, expected: Any, *, terms: int, scale: float | None = None, **options: Any
) -> None:
    """Fails where two numbers differ by more than their roundings.

    Args:
        found: a tensor, a number, or any nesting of these in lists and mappings.
        expected: of the same form.
        terms: additions behind each number, of what a model says ``roundings(model)``.
        scale: the sum of the magnitudes that were added up; ``None``: the largest magnitude among
            all that is expected, for the numbers of one call are sums of one scale. The scale of a
            difference between large sums cannot be read off it and must be given.
        options: go to ``torch.testing.assert_close``.
    """
    tensors = [*_tensors(found), *_tensors(expected)]
    dtype = max((x.dtype for x in tensors), key=lambda x: torch.finfo(x).eps)
    if scale is None:
        scale = max(map(largest, _tensors(expected)), default=0.0)
    torch.testing.assert_close(
        found, expected, rtol=0, atol=tolerance(terms, scale, dtype), **options
    )


def logp_tolerance(logits: Tensor, width: int = 1) -> float:
    """Largest difference between log-probabilities of logits that are sums of ``width`` terms.

    Each is a logit less the log of a sum over the vocabulary, which is as large; what is relative
    to that sum is absolute in its log.
    """
    dtype = logits.dtype
    return tolerance(width, largest(logits), dtype) + tolerance(logits.shape[-1], 1.0, dtype)


def largest(x: Tensor) -> float:
    """The largest finite magnitude."""
    return float(x.detach().abs().where(x.isfinite(), 0).max()) if x.numel() else 0.0


def _tensors(numbers: Any) -> list[Tensor]:
    """The leaves; of scores that were written down as numbers, the float32 that they were."""
    return [x if isinstance(x, Tensor) else torch.tensor(float(x)) for x in tree_leaves(numbers)]
