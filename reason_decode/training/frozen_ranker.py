"""Training of a ranking head alone, on the mean hidden states of solutions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reason_decode.training.frozen import FrozenBody, HeadExample
from reason_decode.training.ranker_config import RankerConfig, RankingLoss
from reason_decode.training.ranking_batches import (
    RankingGroup,
    batch_ranking_loss,
    collate_groups,
    ordered_share,
    ranking_loss,
    take_targets,
)

__all__ = ["ranking_arguments"]


def _frozen_ranker(model: Any) -> FrozenBody:
    """The training of the ranking head of a model alone."""
    head = _Logits(model.get_submodule("reward_head"))
    return FrozenBody(head, partial(_mean_states, model), _collate_states, _pair_accuracy)


def ranking_arguments(model: Any, config: RankerConfig) -> dict[str, Any]:
    """The arguments of ``trainer.train`` that say the loss of a ranker, and what is trained.

    Args:
        model: a body with a ``reward_head``.
        config: the settings.
    """
    if config.freeze:
        loss = _states_ranking_loss(config.loss)
        return {"loss": loss, "side_inputs": _take_right, "frozen": _frozen_ranker(model)}
    return {"loss": batch_ranking_loss(model, config.loss), "side_inputs": take_targets}


def _states_ranking_loss(loss: RankingLoss) -> Any:
    """A loss for the trainer: ``ranking_loss`` of scores, the mean over the problems of a step."""

    def mean_loss(
        output: Any, labels: Tensor, num_items_in_batch: Any = None, *, side_inputs: Tensor
    ) -> Tensor:
        total = ranking_loss(output.logits.float(), side_inputs, labels.tolist(), loss)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return mean_loss


def _take_right(batch: dict[str, Tensor]) -> Tensor:
    """Take the truth about each solution out of a batch, so that the head does not get it."""
    return batch.pop("right")


class _Logits(nn.Module):
    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, states: Tensor) -> Tensor:
        """The scores before the sigmoid, (k,)."""
        return self.head.logits(states)


def _mean_states(model: Any, examples: Sequence[RankingGroup], pad: int) -> list[Tensor]:
    """The mean hidden state of each solution of each group, (k, h)."""
    batch = collate_groups(examples, pad, model)
    scored, sizes = take_targets(batch).scored[..., None].to(model.device), batch.pop("labels")
    hidden = model(**{name: x.to(model.device) for name, x in batch.items()}).last_hidden_state
    means = (hidden.float() * scored).sum(dim=1) / scored.sum(dim=1)
    return list(means.split(sizes.tolist()))


def _collate_states(examples: Sequence[HeadExample], pad: int) -> dict[str, Tensor]:
    """``states`` (k, h), ``right`` (k,), and ``labels`` (p,), the size of each group."""
    return {
        "states": torch.cat([x.states for x in examples]),
        "right": torch.tensor([right for x in examples for right in x.example.right]),
        "labels": torch.tensor([len(x.states) for x in examples]),
    }


def _pair_accuracy(groups: Sequence[RankingGroup], scores: Sequence[Tensor]) -> dict[str, float]:
    """Share of the pairs of a group in the right order, ties counted half; mean over groups."""
    found = (
        ordered_share(row, torch.tensor(group.right))
        for group, row in zip(groups, scores, strict=True)
    )
    shares = [share for share in found if share is not None]
    return {"pair_accuracy": sum(shares) / len(shares)} if shares else {}
