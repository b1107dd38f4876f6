"""Penalties on wrong samples, added to the loss on right ones."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reason_decode.kernels import token_logprobs
from reason_decode.training.examples import IGNORE
from reason_decode.training.losses import token_loss

__all__ = [
    "Penalty",
    "add_penalty",
    "contrastive_loss",
    "negative_training",
    "unlikelihood",
    "unlikelihood_sequence",
]

Penalty = Callable[[Any, Tensor, Tensor], Tensor]
"""``(output, labels, wrong) -> ()``: the model's output, the labels of right rows and those of
wrong rows, each (b, t) int64."""
# Closer to 0, a float32 log-probability loses 1 - p to rounding.
_MAX_LOGP = -1e-6


def add_penalty(penalty: Penalty, weight: float) -> Callable[..., Tensor]:
    """A loss ``token_loss(right rows) + weight * penalty(wrong rows)``.

    Its side input is ``wrong``, the labels of wrong rows; without wrong rows it is ``token_loss``.
    If a batch is a part of an optimizer step, its penalty is weighted by the batch's share of the
    labels of the step.

    Args:
        penalty: one of the penalties of this module.
        weight: weight of the penalty.
    """

    def loss(
        output: Any,
        labels: Tensor,
        num_items_in_batch: Any = None,
        *,
        side_inputs: Tensor | None = None,
    ) -> Tensor:
        right = token_loss(output, labels, num_items_in_batch)
        if side_inputs is None:
            return right
        share = 1.0
        if num_items_in_batch is not None:
            share = (labels != IGNORE).sum() / max(1, num_items_in_batch)
        return right + weight * share * penalty(output, labels, side_inputs)

    return loss


def negative_training(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``mean_t log p(t)`` over the tokens of wrong rows, which NT lowers without bound.

    Args:
        output: output with ``logits`` (b, t, v).
        labels: labels of right rows, not used.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Li et al. 2024, 2312.12832, appendix, equation 15 (maximize ``E_pos log P - 0.05 E_neg
    log P``); Yiwei98/TDG at ca86f56, code/dataset.py, lines 180 to 253, which has only the scores
    +1 and -0.05. A reconstruction as far as means are over tokens, not over sequences.
    """
    logp, known = _logp(output, wrong)
    return logp.sum() / known.sum().clamp(min=1)


def unlikelihood(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``-mean_t log(1 - p(t))`` over the tokens of wrong rows, at least 0.

    Args:
        output: output with ``logits`` (b, t, v).
        labels: labels of right rows, not used.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Welleck et al. 2020, 1908.04319, equation 4, with all tokens of a wrong sample as
    negative candidates.
    """
    logp, known = _logp(output, wrong)
    return -(_log1m_exp(logp) * known).sum() / known.sum().clamp(min=1)


def unlikelihood_sequence(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
    """``-mean_rows log(1 - P)``, with ``P = exp(mean_t log p(t))`` of a wrong row.

    Args:
        output: output with ``logits`` (b, t, v).
        labels: labels of right rows, not used.
        wrong: (b, t) int64, labels of wrong rows, else ``IGNORE``.

    Source: Li et al. 2024, 2312.12832, appendix, equation 16, by name. A reconstruction as far as P
    is a geometric mean: the product over tokens, and its gradient, is 0 for any long text.
    """
    logp, known = _logp(output, wrong)
    rows = known.any(dim=1)
    mean_logp = logp.sum(dim=1)[rows] / known.sum(dim=1)[rows]
    return -_log1m_exp(mean_logp).mean()


def contrastive_loss(temperature: float) -> Penalty:
    """A penalty ``-mean_q log(sum_right e^(cos(z_q, z_c) / T) / sum_all e^(cos(z_q, z_c) / T))``.

    The candidates c of a question q are a right row and the wrong rows after it. z_q is the mean of
    the last hidden states over the prompt, z_c over the solution.

    Args:
        temperature: T, positive.

    Returns:
        A penalty that reads ``output.hidden_states``.

    Raises:
        ValueError: the temperature is not positive.

    Source: a reconstruction. Li et al. 2024 compare with contrastive learning, but publish no
    formula; Yiwei98/TDG at ca86f56, code/dataset.py, lines 256 to 369, has only what is contrasted:
    a question with right and wrong candidates.
    """
    if not temperature > 0:
        raise ValueError(f"got a temperature of {temperature}; it must be positive")

    def penalty(output: Any, labels: Tensor, wrong: Tensor) -> Tensor:
        hidden = output.hidden_states[-1].float()
        known = (labels != IGNORE) | (wrong != IGNORE)
        rank = known.cumsum(dim=1)
        # The first label, which is the solution's first token, is at the prompt's last token.
        prompt, solution = (rank == 0) | (known & (rank == 1)), known & (rank > 1)
        similarity = F.cosine_similarity(_mean(hidden, prompt), _mean(hidden, solution))
        scores = similarity / temperature
        right = (labels != IGNORE).any(dim=1)
        question = right.cumsum(dim=0) - 1
        own = question == torch.arange(int(right.sum()), device=right.device)[:, None]
        total, good = (
            scores.masked_fill(~rows, float("-inf")).logsumexp(dim=1) for rows in (own, own & right)
        )
        return (total - good).mean()

    return penalty


def _logp(output: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each label, 0 where there is none, and where there is one; (b, t)."""
    return token_logprobs(output.logits, labels, ignore_index=IGNORE), labels != IGNORE


def _log1m_exp(logp: Tensor) -> Tensor:
    """``log(1 - exp(logp))``."""
    return torch.log(-torch.expm1(logp.clamp(max=_MAX_LOGP)))


def _mean(hidden: Tensor, positions: Tensor) -> Tensor:
    """Mean of hidden states (b, t, h) over some positions (b, t) of each row, (b, h)."""
    weights = positions.to(hidden.dtype)
    return (hidden * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1)
