"""Batches of the solutions of problems, and the ranking losses over them."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.models.inputs import EncodedSolution
from reason_decode.scorers.encoder_session import collate_pairs
from reason_decode.training.examples import SolutionEncoder
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.ranker_config import RankingLoss

__all__ = [
    "RankingGroup",
    "RankingTargets",
    "batch_ranking_loss",
    "collate_groups",
    "ordered_share",
    "ranking_groups",
    "ranking_loss",
    "take_targets",
]


class RankingGroup(NamedTuple):
    """Solutions of one problem that are ranked against each other.

    Attributes:
        solutions: the solutions, encoded by the ranker that learns.
        right: whether each is right.
    """

    solutions: list[EncodedSolution]
    right: list[bool]

    @property
    def ids(self) -> Sequence[int]:
        """The tokens of the longest solution."""
        return max((solution.ids for solution in self.solutions), key=len)

    @property
    def positions(self) -> Sequence[int]:
        """One entry per solution."""
        return range(len(self.solutions))


def ranking_groups(
    right: Iterable[LabelledSolution],
    wrong: Iterable[LabelledSolution],
    encoder: SolutionEncoder,
    *,
    max_solutions: int = 16,
    max_length: int = 4096,
    mixed: bool = True,
) -> tuple[list[RankingGroup], int]:
    """Group the solutions of each problem; split large groups.

    Args:
        right: D_pos, samples with right answers; see ``grade_samples``.
        wrong: D_neg, samples with wrong answers.
        encoder: the ranker that will score.
        max_solutions: maximum number of solutions per group. If a problem has too few solutions
            of one side to split them, surplus solutions of the other side are left out.
        max_length: maximum number of tokens; longer solutions are left out.
        mixed: leave out problems without right or without wrong solutions.

    Returns:
        The groups, and the number of solutions that were too long.
    """
    sides: dict[str, tuple[list[EncodedSolution], list[EncodedSolution]]] = {}
    too_long = 0
    for side, solutions in enumerate((wrong, right)):
        for solution in solutions:
            encoded = encoder.encode(solution.prompt, solution.steps)
            if len(encoded.ids) > max_length:
                too_long += 1
            elif encoded.score_positions:
                sides.setdefault(solution.prompt, ([], []))[side].append(encoded)
    found: list[RankingGroup] = []
    for bad, good in sides.values():
        if mixed and not (bad and good):
            continue
        few, many = sorted((len(bad), len(good)))
        count = max(1, -(-(few + many) // max_solutions))
        if few:
            count = min(count, few)
        for k in range(count):
            losers, winners = bad[k::count], good[k::count]
            # Each side may fill half of the group, and what the other side leaves free.
            half = max_solutions // 2
            winners, losers = (
                winners[: max(half, max_solutions - len(losers))],
                losers[: max(max_solutions - half, max_solutions - len(winners))],
            )
            found.append(
                RankingGroup(winners + losers, [True] * len(winners) + [False] * len(losers))
            )
    return found, too_long


class RankingTargets(NamedTuple):
    """Side inputs of the ranking loss, for the k solutions of a batch.

    Attributes:
        scored: (k, t) bool, the tokens whose hidden states are averaged.
        right: (k,) bool, whether each solution is right.
    """

    scored: Tensor
    right: Tensor


def collate_groups(examples: Sequence[RankingGroup], pad: int, model: Any) -> dict[str, Tensor]:
    """Groups as one batch of solutions; ``labels`` (p,) holds the size of each group.

    Args:
        examples: the groups.
        pad: id of the padding token.
        model: the ranker's model.
    """
    solutions = [solution for group in examples for solution in group.solutions]
    inputs = {name: x.cpu() for name, x in collate_pairs(solutions, pad, model).items()}
    scored = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    for row, solution in enumerate(solutions):
        scored[row, solution.spans[0].start : solution.spans[0].stop] = True
    right = torch.tensor([x for group in examples for x in group.right])
    sizes = torch.tensor([len(group.solutions) for group in examples])
    return {**inputs, "scored": scored, "right": right, "labels": sizes}


def take_targets(batch: dict[str, Tensor]) -> RankingTargets:
    """Take the side inputs of the loss out of a batch, so that the model does not get them."""
    return RankingTargets(batch.pop("scored"), batch.pop("right"))


def batch_ranking_loss(model: Any, loss: RankingLoss) -> Any:
    """A loss for the trainer: ``ranking_loss`` of a batch, the mean over the problems of a step.

    Args:
        model: a body with a ``reward_head``, as in ``RankingModel``.
        loss: the loss; see ``RankingLoss``.
    """
    return partial(_batch_loss, model=model, loss=loss)


def _batch_loss(
    output: Any,
    labels: Tensor,
    num_items_in_batch: Any = None,
    *,
    side_inputs: RankingTargets,
    model: Any,
    loss: RankingLoss,
) -> Tensor:
    hidden = output.last_hidden_state
    # In float32: bfloat16 would round scores that differ by little to the same number.
    with torch.autocast(hidden.device.type, enabled=False):
        scored = side_inputs.scored[..., None]
        means = (hidden.float() * scored).sum(dim=1) / scored.sum(dim=1)
        logits = model.get_submodule("reward_head").logits(means)
    total = ranking_loss(logits, side_inputs.right, labels.tolist(), loss)
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def ordered_share(scores: Tensor, right: Tensor) -> float | None:
    """Share of the pairs that are in the right order, ties counted half; ``None`` without pairs.

    Args:
        scores: (k,), of the solutions of a problem.
        right: (k,) bool, whether each is right.
    """
    if not right.any() or right.all():
        return None
    winners, losers = scores[right][:, None], scores[~right]
    return float(((winners > losers) + (winners == losers) / 2).mean())


def ranking_loss(
    logits: Tensor, right: Tensor, sizes: Sequence[int], loss: RankingLoss = "cubic"
) -> Tensor:
    """Sum over problems of the mean loss over all pairs of a right and a wrong solution.

    The loss of a pair is that of ``RankingLoss``. With ``cubic`` and ``pointwise`` a pair's two
    terms do not interact, so the mean over pairs is the mean of the right solutions' terms plus the
    mean of the wrong ones'. Each solution thus needs one forward pass, however many pairs it is in,
    and the expectation is that of drawing one random pair per problem.

    Args:
        logits: (k,) float32, scores before the sigmoid.
        right: (k,) bool, whether each solution is right.
        sizes: number of solutions of each problem, in order; their sum is k.
        loss: the loss; see ``RankingLoss``.

    Source: Li et al. 2024, 2312.12832; cubic: Yiwei98/TDG at ca86f56, code/RM/models_ft5.py, lines
    286 to 293, and demo_ft5.py, line 97. Logistic: Bradley and Terry 1952.

    Examples:
        >>> import torch
        >>> z = torch.tensor([2.0, -1.0, 0.0])
        >>> right = torch.tensor([True, False, False])
        >>> s = z.sigmoid()
        >>> by_hand = (1 - s[0]) ** 3 + (s[1] ** 3 + s[2] ** 3) / 2
        >>> bool(torch.isclose(ranking_loss(z, right, [3]), by_hand))
        True
    """
    total = logits.new_zeros(())
    for z, good in zip(logits.split([*sizes]), right.split([*sizes]), strict=True):
        winners, losers = z[good], z[~good]
        if loss == "logistic":
            total = total + F.softplus(losers - winners[:, None]).mean()
            continue
        for side in (-winners, losers):
            if len(side):
                terms = side.sigmoid() ** 3 if loss == "cubic" else F.softplus(side)
                total = total + terms.mean()
    return total
