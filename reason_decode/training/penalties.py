"""What wrong samples add to the loss on right ones: negative training, unlikelihood, contrast."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.kernels import token_logprobs
from reason_decode.training.examples import IGNORE
from reason_decode.training.losses import token_loss

__all__ = ["add_penalty", "contrast", "negative_training", "unlikelihood", "unlikelihood_sequence"]

Penalty = Callable[[Any, Tensor, Tensor], Tensor]
"""Of the model's output, the labels of right rows and those of wrong ones, each (b, t)."""
# Where a float32 probability is so near to 1, 1 - p is mostly rounding.
_NEAREST = -1e-6


def add_penalty(penalty: Penalty, weight: float) -> Callable[..., Tensor]:
    """``token_loss(right rows) + weight * penalty``, for ``fit``.

    Without wrong rows it is ``token_loss``. Where a batch is a part of an update, the penalty
    counts as the part that the batch has of the update's labels.

    Args:
        penalty: see below.
        weight: of it; 0 leaves ``token_loss``.
    """

    def loss(
        output: Any, labels: Tensor, num_items_in_batch: Any = None, *, told: Tensor | None = None
    ) -> Tensor:
        right = token_loss(output, labels, num_items_in_batch)
        if told is None:
            return right
        share = 1.0
        if num_items_in_batch is not None:
            share = (labels != IGNORE).sum() / max(1, num_items_in_batch)
        return right + weight * share * penalty(output, labels, told)

    return loss


def negative_training(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``mean_t log p(t)`` over the tokens of wrong rows: NT makes them less likely, without bound.

    Args:
        output: has ``logits`` (b, t, v).
        labels: of right rows, not read.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Li et al. 2024, 2312.12832, appendix, equation 15 (maximise ``E_pos log P - 0.05 E_neg
    log P``); Yiwei98/TDG at ca86f56, code/dataset.py, lines 180 to 253, which has only the scores
    +1 and -0.05. Reconstruction in this: means over tokens, not over sequences.
    """
    logp, known = _logp(output, wrong)
    return logp.sum() / known.sum().clamp(min=1)


def unlikelihood(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``-mean_t log(1 - p(t))`` over the tokens of wrong rows; bounded below by 0.

    Args:
        output: has ``logits`` (b, t, v).
        labels: of right rows, not read.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Welleck et al. 2020, 1908.04319, equation 4, with all tokens of a wrong sample as
    negative candidates.
    """
    logp, known = _logp(output, wrong)
    return -(_log_not(logp) * known).sum() / known.sum().clamp(min=1)


def unlikelihood_sequence(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``-mean_rows log(1 - P)``, ``P = exp(mean_t log p(t))`` of a wrong row.

    Args:
        output: has ``logits`` (b, t, v).
        labels: of right rows, not read.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Li et al. 2024, 2312.12832, appendix, equation 16, by name. Reconstruction in this: P is
    the geometric mean, since the product over tokens is 0 for any long text, and so its gradient.
    """
    logp, known = _logp(output, wrong)
    rows = known.any(dim=1)
    mean = logp.sum(dim=1)[rows] / known.sum(dim=1)[rows]
    return -_log_not(mean).mean()


def contrast(temperature: float) -> Penalty:
    """``-mean_q log(sum_right e^(cos(z_q, z_c) / T) / sum_all e^(cos(z_q, z_c) / T))``.

    A right row and the wrong ones behind it, of the same question, are the candidates c of a
    question q. z_q is the mean of the last hidden states over the prompt, z_c over the solution.

    Args:
        temperature: T, positive.

    Returns:
        a penalty that reads ``output.hidden_states``.

    Raises:
        ValueError: the temperature is not positive.

    Source: reconstruction. Li et al. 2024 compare with contrastive learning, but neither formula
    nor loss is published; Yiwei98/TDG at ca86f56, code/dataset.py, lines 256 to 369 has only what
    is contrasted: a question with right and wrong candidates.
    """
    if not temperature > 0:
        raise ValueError(f"got a temperature of {temperature}; it must be positive")

    def penalty(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
        hidden = output.hidden_states[-1].float()
        learnt = (labels != IGNORE) | (wrong != IGNORE)
        place = learnt.cumsum(dim=1)
        # The first label stands at the prompt's last token.
        asked, said = (place == 0) | (learnt & (place == 1)), learnt & (place > 1)
        scores = F.cosine_similarity(_mean(hidden, asked), _mean(hidden, said)) / temperature
        right = (labels != IGNORE).any(dim=1)
        question = right.cumsum(dim=0) - 1
        own = question == torch.arange(int(right.sum()), device=right.device)[:, None]
        every, good = (
            scores.masked_fill(~rows, float("-inf")).logsumexp(dim=1) for rows in (own, own & right)
        )
        return (every - good).mean()

    return penalty


def _logp(output: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of each label, 0 where there is none; and where there is one; (b, t)."""
    return token_logprobs(output.logits, labels, ignore_index=IGNORE), labels != IGNORE


def _log_not(logp: Tensor) -> Tensor:
    """``log(1 - exp(logp))``."""
    return torch.log(-torch.expm1(logp.clamp(max=_NEAREST)))


def _mean(hidden: Tensor, places: Tensor) -> Tensor:
    """(b, h), over some places of each row."""
    weights = places.to(hidden.dtype)
    return (hidden * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1)
