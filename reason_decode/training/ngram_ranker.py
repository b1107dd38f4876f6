"""Training of a linear ranker over n-grams and equations, by L-BFGS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.scorers.ngram.ranker import BUCKETS, NGramRanker, features
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.ranker import pair_accuracy
from reason_decode.training.ranker_config import NGramRankerConfig
from reason_decode.training.run_folder import write_errors

__all__ = ["train_ngram_ranker"]

Problem = tuple[list[LabelledSolution], list[LabelledSolution]]
"""The right and the wrong solutions of a problem."""


class _FeatureMatrix:
    """A sparse matrix (n, b) of the features of n solutions, as lists of its entries."""

    def __init__(
        self, solutions: Sequence[LabelledSolution], separator: str, min_count: int
    ) -> None:
        found = [features(x.prompt, separator.join(x.steps)) for x in solutions]
        sizes = torch.tensor([len(columns) for columns, _ in found])
        self.row = torch.arange(len(found)).repeat_interleave(sizes)
        self.column = torch.cat([torch.tensor(columns) for columns, _ in found])
        self.value = torch.cat([torch.tensor(values) for _, values in found])
        counts = torch.bincount(self.column, minlength=BUCKETS)
        keep = counts[self.column] >= min_count
        self.row, self.column, self.value = self.row[keep], self.column[keep], self.value[keep]
        self.shape = (len(found), BUCKETS)

    def times(self, weights: Tensor) -> Tensor:
        """The product with a vector, (b,) -> (n,)."""
        products = weights[self.column] * self.value
        return torch.zeros(self.shape[0]).index_add_(0, self.row, products)

    def transposed_times(self, gradient: Tensor) -> Tensor:
        """The product of the transpose with a vector, (n,) -> (b,)."""
        products = gradient[self.row] * self.value
        return torch.zeros(self.shape[1]).index_add_(0, self.column, products)


def train_ngram_ranker(
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    output: str | Path,
    config: NGramRankerConfig | None = None,
    *,
    held_out: tuple[Sequence[LabelledSolution], Sequence[LabelledSolution]] = ((), ()),
) -> dict[str, Any]:
    """Train a linear ranker; ``NGramRanker.from_pretrained(output)`` loads it.

    Minimizes ``mean_problems mean_pairs -log sigmoid(z_pos - z_neg) + weight_decay / 2 |w|^2`` over
    the pairs of a right and a wrong solution that come from the same row of the data. Solutions of
    different rows may be by different models, and the ranker would learn to tell their styles.

    Args:
        right: D_pos, samples with right answers; see ``grade_samples``.
        wrong: D_neg, samples with wrong answers.
        output: folder of the ranker.
        config: the settings; the defaults of ``NGramRankerConfig`` if left out.
        held_out: right and wrong samples of other problems.

    Returns:
        ``examples`` (problems), ``labels`` (solutions), ``steps`` (iterations of L-BFGS), ``loss``
        in nats per problem without the penalty, and ``pair_accuracy`` on the held-out samples.

    Raises:
        ValueError: no problem with right and wrong samples.

    Source: Bradley and Terry 1952, the loss.
    """
    config = config or NGramRankerConfig()
    rows: dict[tuple[str, str], Problem] = {}
    for side, solutions in enumerate((right, wrong)):
        for x in solutions:
            if x.steps:
                rows.setdefault((x.prompt, x.source), ([], []))[side].append(x)
    problems = [(good, bad) for good, bad in rows.values() if good and bad]
    if not problems:
        raise ValueError(
            f"got {len(right)} right and {len(wrong)} wrong samples, and no problem with both; "
            "sample more of each problem, at a higher temperature"
        )
    solutions = [x for good, bad in problems for x in (*good, *bad)]
    matrix = _FeatureMatrix(solutions, config.separator, config.min_count)
    weights, loss, steps = _minimize(matrix, _pairs(problems), config)
    ranker = NGramRanker(weights, separator=config.separator)
    with write_errors(Path(output)):
        ranker.save_pretrained(output)
    return {
        "examples": len(problems),
        "labels": len(solutions),
        "steps": steps,
        "loss": loss,
        "pair_accuracy": pair_accuracy(ranker, *held_out),
    }


def _pairs(problems: Sequence[Problem]) -> tuple[Tensor, Tensor, Tensor]:
    """For each pair the row of its right solution, that of its wrong one, and its loss weight."""
    found: list[tuple[int, int, float]] = []
    start = 0
    for good, bad in problems:
        middle, end = start + len(good), start + len(good) + len(bad)
        weight = 1 / (len(good) * len(bad) * len(problems))
        found += [(i, j, weight) for i in range(start, middle) for j in range(middle, end)]
        start = end
    first, second, weights = zip(*found, strict=True)
    return torch.tensor(first), torch.tensor(second), torch.tensor(weights)


def _minimize(
    matrix: _FeatureMatrix, pairs: tuple[Tensor, Tensor, Tensor], config: NGramRankerConfig
) -> tuple[Tensor, float, int]:
    """The weights (b,) of the least loss, that loss without the penalty, and the iterations."""
    first, second, pair_weights = pairs
    weights = torch.zeros(matrix.shape[1])
    weights.grad = torch.zeros_like(weights)
    solver = torch.optim.LBFGS(
        [weights], max_iter=config.max_steps, history_size=10, line_search_fn="strong_wolfe"
    )
    last = 0.0

    def closure() -> float:
        nonlocal last
        z = matrix.times(weights)
        z.requires_grad_()
        loss = (F.softplus(z[second] - z[first]) * pair_weights).sum()
        loss.backward()
        # The gradient by hand from z on: autograd would keep tensors of all ten million entries.
        assert z.grad is not None and weights.grad is not None
        weights.grad.copy_(matrix.transposed_times(z.grad) + config.weight_decay * weights)
        last = loss.item()
        return last + config.weight_decay / 2 * float(weights @ weights)

    with torch.enable_grad():
        solver.step(closure)  # pyright: ignore[reportArgumentType] - a float works too
    return weights, last, int(solver.state[weights]["n_iter"])
