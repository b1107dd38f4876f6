"""Right and wrong solutions of one problem, and what a ranker is to learn between them."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.models.tokenization import EncodedSolution
from reason_decode.scorers.encoder_session import collate_pairs
from reason_decode.training.examples import Judge
from reason_decode.training.labelled import LabelledSolution

__all__ = ["Compare", "Contest", "check_compare", "contest_loss", "contests", "ranking_loss"]

Compare = Literal["cubic", "logistic", "pointwise"]
"""What is minimised: of pairs ``(1 - s_pos)^3 + s_neg^3`` or ``-log sigmoid(z_pos - z_neg)``, of
solutions ``-log s_pos`` and ``-log(1 - s_neg)``, where ``s = sigmoid(z)`` is a solution's score."""


class Contest(NamedTuple):
    """Solutions of one problem, laid out by the ranker that learns, and which of them are right."""

    layouts: list[EncodedSolution]
    right: list[bool]

    @property
    def ids(self) -> Sequence[int]:
        """The tokens of its longest solution."""
        return max((layout.ids for layout in self.layouts), key=len)

    @property
    def places(self) -> Sequence[int]:
        """One a solution."""
        return range(len(self.layouts))


def contests(
    right: Iterable[LabelledSolution],
    wrong: Iterable[LabelledSolution],
    judge: Judge,
    *,
    most: int = 16,
    max_tokens: int = 4096,
    mixed: bool = True,
) -> tuple[list[Contest], int]:
    """Each problem's solutions, and how many were too long; many are dealt out into several.

    Args:
        right: D_pos, see ``grade_samples``.
        wrong: D_neg.
        judge: the ranker that will score.
        most: solutions in a contest. Where one side is too small to be dealt out, the larger loses
            what does not fit.
        max_tokens: longer solutions are left out.
        mixed: whether problems without right solutions, or without wrong ones, are left out.
    """
    sides: dict[str, tuple[list[EncodedSolution], list[EncodedSolution]]] = {}
    too_long = 0
    for side, solutions in enumerate((wrong, right)):
        for solution in solutions:
            layout = judge.encode(solution.prompt, solution.steps)
            if len(layout.ids) > max_tokens:
                too_long += 1
            elif layout.score_positions:
                sides.setdefault(solution.prompt, ([], []))[side].append(layout)
    found: list[Contest] = []
    for bad, good in sides.values():
        if mixed and not (bad and good):
            continue
        few, many = sorted((len(bad), len(good)))
        rounds = max(1, -(-(few + many) // most))
        if few:
            rounds = min(rounds, few)
        for k in range(rounds):
            losers, winners = bad[k::rounds], good[k::rounds]
            # Both sides keep half of the seats, and one what the other leaves free.
            seats = max(most // 2, most - len(losers)), max(most - most // 2, most - len(winners))
            winners, losers = winners[: seats[0]], losers[: seats[1]]
            found.append(Contest(winners + losers, [True] * len(winners) + [False] * len(losers)))
    return found, too_long


class Told(NamedTuple):
    """Of a batch of solutions: which tokens are judged (k, t), and which of them are right (k,)."""

    judged: Tensor
    right: Tensor


def gather(examples: Sequence[Contest], pad: int, model: Any) -> dict[str, Tensor]:
    """Contests as one batch of solutions; ``labels`` (p,) has how many each of them has."""
    layouts = [layout for contest in examples for layout in contest.layouts]
    inputs = {name: x.cpu() for name, x in collate_pairs(layouts, pad, model).items()}
    judged = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    for row, layout in enumerate(layouts):
        judged[row, layout.spans[0].start : layout.spans[0].stop] = True
    right = torch.tensor([x for contest in examples for x in contest.right])
    sizes = torch.tensor([len(contest.layouts) for contest in examples])
    return {**inputs, "judged": judged, "right": right, "labels": sizes}


def tell(batch: dict[str, Tensor]) -> Told:
    """What the loss needs and the model does not take, taken out of a batch."""
    return Told(batch.pop("judged"), batch.pop("right"))


def ranking_loss(model: Any, compare: Compare) -> Any:
    """``contest_loss`` of the scores that a model's head gives, the mean over an update's problems.

    Args:
        model: a body with a ``reward_head``, as in ``RankingModel``.
        compare: see ``Compare``.
    """
    return partial(_loss, model=model, compare=compare)


def _loss(
    output: Any,
    labels: Tensor,
    num_items_in_batch: Any = None,
    *,
    told: Told,
    model: Any,
    compare: Compare,
) -> Tensor:
    hidden = output.last_hidden_state
    # The scores differ by little where the loss is decided: bfloat16 would round them together.
    with torch.autocast(hidden.device.type, enabled=False):
        judged = told.judged[..., None]
        means = (hidden.float() * judged).sum(dim=1) / judged.sum(dim=1)
        logits = model.get_submodule("reward_head").logits(means)
    total = contest_loss(logits, told.right, labels.tolist(), compare)
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def contest_loss(
    logits: Tensor, right: Tensor, sizes: Sequence[int], compare: Compare = "cubic"
) -> Tensor:
    """The sum over problems of the mean over all pairs of a right and a wrong solution.

    ``logistic`` as said in ``Compare``; of ``cubic`` a pair's two terms do not meet, so the mean
    over pairs is that of right solutions' terms and that of wrong ones'; ``pointwise`` the same,
    with logarithms. So each solution is read once however many pairs it is in; the expectation is
    that of one random pair a problem.

    Args:
        logits: (k,) float32, before the sigmoid.
        right: (k,) bool.
        sizes: how many of them each problem has, in order.
        compare: see ``Compare``.

    Source: Li et al. 2024, 2312.12832; the cubes: Yiwei98/TDG at ca86f56, code/RM/models_ft5.py,
    lines 286 to 293, and demo_ft5.py, line 97. Logistic: Bradley and Terry 1952.

    Example:
        >>> import torch
        >>> z = torch.tensor([2.0, -1.0, 0.0])
        >>> right = torch.tensor([True, False, False])
        >>> s = z.sigmoid()
        >>> by_hand = (1 - s[0]) ** 3 + (s[1] ** 3 + s[2] ** 3) / 2
        >>> bool(torch.isclose(contest_loss(z, right, [3]), by_hand))
        True
    """
    total = logits.new_zeros(())
    for z, good in zip(logits.split([*sizes]), right.split([*sizes]), strict=True):
        winners, losers = z[good], z[~good]
        if compare == "logistic":
            total = total + F.softplus(losers - winners[:, None]).mean()
            continue
        for side in (-winners, losers):
            if len(side):
                terms = side.sigmoid() ** 3 if compare == "cubic" else F.softplus(side)
                total = total + terms.mean()
    return total


def check_compare(compare: object) -> None:
    """Raise unless it is a ``Compare``.

    Raises:
        ValueError: it is none.
    """
    if compare not in get_args(Compare):
        raise ValueError(f"got compare={compare!r}; allowed are {', '.join(get_args(Compare))}")
