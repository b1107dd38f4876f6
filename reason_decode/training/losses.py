"""Losses on the outputs of transformers models, for ``fit``; the Trainer names the arguments."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.kernels import token_logprobs
from reason_decode.training.examples import IGNORE

__all__ = ["class_loss", "outcome_loss", "tag_loss", "token_loss"]


def class_loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """``-log softmax(logits)[label]``, the mean over the labels of an update.

    Args:
        output: has ``logits`` (b, t, c) of a model for token classification.
        labels: (b, t) int64, ``IGNORE`` where there is none.
        num_items_in_batch: labels in all batches of the update; ``None``: those given here.

    Source: Lightman et al. 2023, 2305.20050, section 2.6: the log-likelihood of each step's label.
    """
    learnt = labels != IGNORE
    return _mean(output.logits[learnt], labels[learnt], num_items_in_batch)


def tag_loss(tokens: Sequence[int]) -> Any:
    """``class_loss`` over the logits of given tokens only, one a class, of a language model.

    The classes compete with each other and with no other token, as they do when they are read.

    Args:
        tokens: the id of each class's token.

    Source: Math-Shepherd (Wang et al. 2023, 2312.08935), which reads ``+`` and ``-`` at a tag.
    """

    def loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        learnt = labels != IGNORE
        chosen = output.logits[learnt][:, list(tokens)]
        return _mean(chosen, labels[learnt], num_items_in_batch)

    return loss


def outcome_loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """``-log softmax(logits)[label]`` of whole texts.

    Args:
        output: has ``logits`` (b, 2) of a model for sequence classification.
        labels: (b, t) int64 with one label a row.
        num_items_in_batch: labels in all batches of the update; ``None``: those given here.

    Source: Cobbe et al. 2021, 2110.14168: the verifier is asked at a solution's end.
    """
    rows, places = torch.nonzero(labels != IGNORE, as_tuple=True)
    return _mean(output.logits[rows], labels[rows, places], num_items_in_batch)


def token_loss(output: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """``-log softmax(logits)[label]`` over a whole vocabulary, in little memory beside the logits.

    Args:
        output: has ``logits`` (b, t, v) of a causal language model.
        labels: (b, t) int64, the token that follows each place, or ``IGNORE``.
        num_items_in_batch: labels in all batches of the update; ``None``: those given here.

    Source: Li et al. 2024, 2312.12832, equation 3: a negative model is trained as any other is.
    """
    logp = token_logprobs(output.logits, labels, ignore_index=IGNORE)
    count = (labels != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
    return -logp.sum() / max(1, count)


def _mean(logits: Tensor, labels: Tensor, count: Any) -> Tensor:
    """Cross-entropy in float32, over ``count`` labels, of which these may be a part."""
    total = F.cross_entropy(logits.float(), labels, reduction="sum")
    return total / (max(1, len(labels)) if count is None else count)
