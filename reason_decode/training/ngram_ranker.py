"""Training a ranker without a network: pairs of solutions, by L-BFGS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.scorers.ngram.ranker import BUCKETS, NGramRanker, features
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.ranker import pair_accuracy

__all__ = ["train_ngram_ranker"]


class _Rows:
    """A sparse matrix (n, b) as entries; products with it and with its transpose."""

    def __init__(self, texts: Sequence[LabelledSolution], separator: str, rarest: int) -> None:
        found = [features(x.prompt, separator.join(x.steps)) for x in texts]
        sizes = torch.tensor([len(at) for at, _ in found])
        self.row = torch.arange(len(found)).repeat_interleave(sizes)
        self.at = torch.cat([torch.tensor(at) for at, _ in found])
        self.value = torch.cat([torch.tensor(values) for _, values in found])
        often = torch.bincount(self.at, minlength=BUCKETS)[self.at] >= rarest
        self.row, self.at, self.value = self.row[often], self.at[often], self.value[often]
        self.shape = (len(found), BUCKETS)

    def times(self, weights: Tensor) -> Tensor:
        """(b,) -> (n,)."""
        return torch.zeros(self.shape[0]).index_add_(0, self.row, weights[self.at] * self.value)

    def back(self, grad: Tensor) -> Tensor:
        """(n,) -> (b,)."""
        return torch.zeros(self.shape[1]).index_add_(0, self.at, grad[self.row] * self.value)


def train_ngram_ranker(
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    out: str | Path,
    *,
    decay: float = 4e-4,
    updates: int = 60,
    rarest: int = 8,
    separator: str = "\n",
    held_out: tuple[Sequence[LabelledSolution], Sequence[LabelledSolution]] = ((), ()),
) -> dict[str, Any]:
    """Train a linear ranker; ``NGramRanker.from_pretrained(out)`` then loads it.

    Minimises ``mean_problems mean_pairs -log sigmoid(z_pos - z_neg) + decay / 2 |w|^2`` over all
    pairs of a right and a wrong solution of one row of the data: samples of another row are of
    another model, whose manner would be learnt and not what is right.

    Args:
        right: D_pos, see ``grade_samples``.
        wrong: D_neg.
        out: a folder.
        decay: of the weights.
        updates: steps of L-BFGS.
        rarest: features that fewer solutions have are not learnt.
        separator: what ends a step.
        held_out: right and wrong samples of other problems.

    Returns:
        ``examples`` (problems) and ``labels`` (solutions) that were learnt from, ``updates``,
        ``loss`` in nats a problem, without the decay, and ``pair_accuracy`` of what was held out.

    Raises:
        ValueError: no problem with right and wrong samples.

    Source: Bradley and Terry 1952, the loss.
    """
    rows: dict[tuple[str, str], tuple[list[LabelledSolution], list[LabelledSolution]]] = {}
    for side, solutions in enumerate((wrong, right)):
        for x in solutions:
            if x.steps:
                rows.setdefault((x.prompt, x.source), ([], []))[side].append(x)
    mixed = [(good, bad) for bad, good in rows.values() if good and bad]
    if not mixed:
        raise ValueError(
            f"got {len(right)} right and {len(wrong)} wrong samples, and no problem with both; "
            "sample more of each problem, at a higher temperature"
        )
    texts = [x for good, bad in mixed for x in (*good, *bad)]
    matrix = _Rows(texts, separator, rarest)
    weights, loss, steps = _minimised(matrix, _pairs(mixed), decay, updates)
    ranker = NGramRanker(weights, separator=separator)
    ranker.save_pretrained(out)
    counts = {"examples": len(mixed), "labels": len(texts), "updates": steps, "loss": loss}
    return {**counts, "pair_accuracy": pair_accuracy(ranker, *held_out)}


def _pairs(mixed: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pair the rows of the right and of the wrong solution, and its share of the loss."""
    found: list[tuple[int, int, float]] = []
    start = 0
    for good, bad in mixed:
        middle, end = start + len(good), start + len(good) + len(bad)
        share = 1 / (len(good) * len(bad) * len(mixed))
        found += [(i, j, share) for i in range(start, middle) for j in range(middle, end)]
        start = end
    first, second, shares = zip(*found, strict=True)
    return torch.tensor(first), torch.tensor(second), torch.tensor(shares)


def _minimised(
    matrix: _Rows, pairs: tuple[Tensor, Tensor, Tensor], decay: float, updates: int
) -> tuple[Tensor, float, int]:
    first, second, shares = pairs
    weights = torch.zeros(matrix.shape[1])
    weights.grad = torch.zeros_like(weights)
    solver = torch.optim.LBFGS(
        [weights], max_iter=updates, history_size=10, line_search_fn="strong_wolfe"
    )
    last = 0.0

    def closure() -> float:
        nonlocal last
        z = matrix.times(weights)
        z.requires_grad_()
        # Its gradient by hand from here on: of entries there are ten million.
        loss = (F.softplus(z[second] - z[first]) * shares).sum()
        loss.backward()
        assert z.grad is not None and weights.grad is not None
        weights.grad.copy_(matrix.back(z.grad) + decay * weights)
        last = loss.item()
        return last + decay / 2 * float(weights @ weights)

    with torch.enable_grad():
        solver.step(closure)  # pyright: ignore[reportArgumentType] - a number will do
    return weights, last, int(solver.state[weights]["n_iter"])
