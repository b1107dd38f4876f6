"""Linear heads on kept hidden states of a chat model: which samples of a problem are right?

Used by ``chat_select``; the states are those of ``chat_states``. A head is a logistic regression
with an L2 penalty on standardized states, which L-BFGS fits to convergence. Layer and penalty are
chosen by cross-validation over problems.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reason_decode.training.ranking_batches import ordered_share

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5


@dataclass(frozen=True)
class Problem:
    """The samples of a problem, n of them.

    Args:
        right: whether each is right, (n,) bool.
        last: states after the last token, (n, l, h).
        mean: mean states, (n, l, h).
        steps: states after the steps of each sample, (l, s, h).
    """

    right: Tensor
    last: Tensor
    mean: Tensor
    steps: Sequence[Tensor]

    @classmethod
    def of(cls, row: Mapping[str, Any], states: Mapping[str, Tensor]) -> "Problem":
        """The problem of a row of a pool, with its file of states."""
        right = torch.tensor([x["correct"] for x in row["samples"]])
        steps = [states[f"steps.{k}"].float() for k in range(len(right))]
        return cls(right, states["last"].float(), states["mean"].float(), steps)


@dataclass(frozen=True)
class Head:
    """A weight for each feature, and an offset.

    Args:
        weight: (h,).
        offset: a scalar.
    """

    weight: Tensor
    offset: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The logits, (...,), of states (..., h)."""
        return x @ self.weight + self.offset


def fit(x: Tensor, loss: Callable[[Tensor], Tensor], penalty: float) -> Head:
    """The head that minimizes ``loss(logits) + penalty * |w|^2 / 2``, w for standardized states.

    Args:
        x: states, (m, h).
        loss: the mean loss of the logits (m,).
        penalty: strength of the penalty.
    """
    centre, scale = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    standard = (x - centre) / scale
    weight = torch.zeros(x.shape[1], requires_grad=True)
    offset = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, offset], max_iter=200, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(standard @ weight + offset) + penalty * weight.square().sum() / 2
        value.backward()
        return value

    optimizer.step(closure)  # pyright: ignore[reportArgumentType] - a tensor is what it returns
    found = (weight / scale).detach()
    return Head(found, (offset - centre @ found).detach())


def pointwise(right: Tensor) -> Callable[[Tensor], Tensor]:
    """The cross-entropy of single verdicts, (m,) bool."""
    sign = 1 - 2 * right.float()
    return lambda logits: softplus(sign * logits).mean()


def pairwise(groups: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """``-log sigmoid(z_right - z_wrong)``, the mean over pairs, then over problems with both.

    Args:
        groups: whether each sample is right, of each problem.
    """

    def loss(logits: Tensor) -> Tensor:
        parts = zip(logits.split([len(x) for x in groups]), groups, strict=True)
        terms = [
            softplus(z[~right] - z[right][:, None]).mean()
            for z, right in parts
            if right.any() and not right.all()
        ]
        return torch.stack(terms).mean()

    return loss


def _fit_last(problems: Sequence[Problem], layer: int, penalty: float) -> Head:
    right = torch.cat([p.right for p in problems])
    return fit(torch.cat([p.last[:, layer] for p in problems]), pointwise(right), penalty)


def _fit_mean(problems: Sequence[Problem], layer: int, penalty: float) -> Head:
    right = torch.cat([p.right for p in problems])
    return fit(torch.cat([p.mean[:, layer] for p in problems]), pointwise(right), penalty)


def _fit_pairs(problems: Sequence[Problem], layer: int, penalty: float) -> Head:
    x = torch.cat([p.mean[:, layer] for p in problems])
    return fit(x, pairwise([p.right for p in problems]), penalty)


def _fit_steps(problems: Sequence[Problem], layer: int, penalty: float) -> Head:
    pairs = [(s[layer], r) for p in problems for s, r in zip(p.steps, p.right, strict=True)]
    right = torch.cat([r.expand(len(s)) for s, r in pairs])
    return fit(torch.cat([s for s, _ in pairs]), pointwise(right), penalty)


def _on_steps(reduce: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def score(head: Head, problem: Problem, layer: int) -> Tensor:
        # In log-space: a product of many probabilities.
        return torch.stack([reduce(-softplus(-head(s[layer]))) for s in problem.steps])

    return score


def _on_last(head: Head, problem: Problem, layer: int) -> Tensor:
    return -softplus(-head(problem.last[:, layer]))


def _on_mean(head: Head, problem: Problem, layer: int) -> Tensor:
    return -softplus(-head(problem.mean[:, layer]))


HEADS: dict[str, tuple[Callable[..., Head], Callable[..., Tensor]]] = {
    "outcome, last token": (_fit_last, _on_last),
    "outcome, mean": (_fit_mean, _on_mean),
    "ranker, mean": (_fit_pairs, _on_mean),
    "process, product": (_fit_steps, _on_steps(torch.sum)),
    "process, minimum": (_fit_steps, _on_steps(torch.amin)),
    "process, last": (_fit_steps, _on_steps(lambda x: x[-1])),
}
"""Name -> a fit of problems, a layer and a penalty, and the log-probabilities that it gives."""


def pair_accuracy(problems: Sequence[Problem], scores: Sequence[Tensor]) -> float:
    """Share of the pairs of a problem that are in the right order, the mean over problems."""
    found = (ordered_share(s, p.right) for p, s in zip(problems, scores, strict=True))
    shares = [share for share in found if share is not None]
    return sum(shares) / len(shares)


def chosen(name: str, problems: Sequence[Problem], layers: int) -> dict[str, Any]:
    """Layer and penalty of highest cross-validated pair accuracy, and that accuracy.

    Args:
        name: one of ``HEADS``.
        problems: problems to learn from.
        layers: the number of layers that states were kept of.
    """
    make, score = HEADS[name]
    best: dict[str, Any] = {"pair_accuracy": -1.0}
    for layer in range(layers):
        for penalty in PENALTIES:
            scores: list[Tensor] = [torch.empty(0)] * len(problems)
            for fold in range(FOLDS):
                head = make(
                    [p for k, p in enumerate(problems) if k % FOLDS != fold], layer, penalty
                )
                for k in range(fold, len(problems), FOLDS):
                    scores[k] = score(head, problems[k], layer)
            found = pair_accuracy(problems, scores)
            if found > best["pair_accuracy"]:
                best = {"layer": layer, "penalty": penalty, "pair_accuracy": found}
    return best


def scored(
    name: str, train: Sequence[Problem], test: Sequence[Problem], layer: int, penalty: float
) -> list[list[float]]:
    """Log-probabilities that each sample of the test problems is right, by a head.

    Args:
        name: one of ``HEADS``.
        train: problems to learn from.
        test: problems to score.
        layer: index of the layer among those kept.
        penalty: strength of the penalty.
    """
    make, score = HEADS[name]
    head = make(train, layer, penalty)
    return [score(head, problem, layer).tolist() for problem in test]
