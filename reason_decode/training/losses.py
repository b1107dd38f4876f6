"""Losses on the outputs of transformers models, with the arguments that the Trainer passes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.kernels import token_logprobs
from reason_decode.training.examples import IGNORE

__all__ = ["class_loss", "outcome_loss", "tag_loss", "take_soft", "token_loss"]


def class_loss(
    output: Any,
    labels: Tensor,
    num_items_in_batch: Any = None,
    *,
    side_inputs: Tensor | None = None,
) -> Tensor:
    """Mean over the labels of ``-log softmax(logits)[label]``.

    Where a label is soft, ``-p log softmax(logits)[1] - (1 - p) log softmax(logits)[0]``.

    Args:
        output: output with ``logits`` (b, t, c), as of a model for token classification.
        labels: (b, t) int64, ``IGNORE`` where there is none.
        num_items_in_batch: number of labels in all batches of the optimizer step; ``None``: in this
            batch.
        side_inputs: (b, t) float32, the probability p of class 1, NaN where a label is certain;
            ``None`` if all are.

    Source: Lightman et al. 2023, 2305.20050, section 2.6: the log-likelihood of each step's label;
        Wang et al. 2023, 2312.08935, section 3.3: soft labels.
    """
    known = labels != IGNORE
    soft = None if side_inputs is None else side_inputs[known]
    return _mean_loss(output.logits[known], labels[known], num_items_in_batch, soft)


def take_soft(batch: dict[str, Tensor]) -> Tensor | None:
    """Take soft labels out of a batch, so that the model does not get them."""
    return batch.pop("soft", None)


def tag_loss(tokens: Sequence[int]) -> Any:
    """A ``class_loss`` over the logits of given tokens of a language model, one per class.

    The classes compete only with each other, as they do when the model scores.

    Args:
        tokens: the token id of each class.

    Source: Math-Shepherd (Wang et al. 2023, 2312.08935), which reads ``+`` and ``-`` at a tag.
    """

    def loss(
        output: Any,
        labels: Tensor,
        num_items_in_batch: Any = None,
        *,
        side_inputs: Tensor | None = None,
    ) -> Tensor:
        known = labels != IGNORE
        logits = output.logits[known][:, list(tokens)]
        soft = None if side_inputs is None else side_inputs[known]
        return _mean_loss(logits, labels[known], num_items_in_batch, soft)

    return loss


def outcome_loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Mean over texts of ``-log softmax(logits)[label]``.

    Args:
        output: output with ``logits`` (b, 2), as of a model for sequence classification.
        labels: (b, t) int64 with one label per row, else ``IGNORE``.
        num_items_in_batch: number of labels in all batches of the optimizer step; ``None``: in this
            batch.

    Source: Cobbe et al. 2021, 2110.14168: the verifier scores at the end of a solution.
    """
    rows, positions = torch.nonzero(labels != IGNORE, as_tuple=True)
    return _mean_loss(output.logits[rows], labels[rows, positions], num_items_in_batch)


def token_loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Mean over tokens of ``-log softmax(logits)[label]``, in little memory beside the logits.

    Args:
        output: output with ``logits`` (b, t, v) of a causal language model.
        labels: (b, t) int64, the token after each position, or ``IGNORE``.
        num_items_in_batch: number of labels in all batches of the optimizer step; ``None``: in this
            batch.

    Source: Li et al. 2024, 2312.12832, equation 3: a negative model is trained as any other is.
    """
    logp = token_logprobs(output.logits, labels, ignore_index=IGNORE)
    count = (labels != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
    return -logp.sum() / max(1, count)


def _mean_loss(logits: Tensor, labels: Tensor, count: Any, soft: Tensor | None = None) -> Tensor:
    """Cross-entropy in float32 divided by ``count``, the number of labels if it is ``None``."""
    target = labels
    if soft is not None:
        right = torch.where(soft.isnan(), labels.float(), soft.to(labels.device))
        target = torch.stack([1 - right, right], dim=-1)
    total = F.cross_entropy(logits.float(), target, reduction="sum")
    return total / (max(1, len(labels)) if count is None else count)
