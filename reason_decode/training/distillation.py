"""Distillation in blocks: the weights of NCE, and cross-entropy to labels and a teacher at once."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from reason_decode.training.examples import IGNORE

__all__ = ["calibration", "mixed_loss"]

_BLOCK = 1 << 20  # elements of a block of logits


@torch.no_grad()
def calibration(logits: Tensor, negative: Tensor, rows: Tensor | None = None) -> Tensor:
    """``beta = tanh(mean_t KL(p_neg,t || p_NAT,t))`` of each sequence, or of each position.

    Args:
        logits: (n, v), logits of the NAT model.
        negative: (n, v), logits of the negative model at the same positions.
        rows: (n,) int64, the sequence of each position, over whose positions the mean is taken;
            ``None`` for a beta of each position.

    Returns:
        (n,) float32 in [0, 1].

    Source: Yiwei98/TDG at ca86f56, code/distill_NCE.py, lines 138 to 143, which adds 1e-7 to
    probabilities and averages over prompts too.

    Examples:
        >>> import torch
        >>> nat, negative = torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
        >>> calibration(nat, negative, torch.tensor([0, 0, 1])).tolist()[1:]
        [0.33270215988159...
    """
    parts = []
    for part in _blocks(logits):
        logp, logp_negative = (x[part].float().log_softmax(dim=-1) for x in (logits, negative))
        # 0 * log 0 is 0: a token that the negative model rules out adds nothing, not NaN.
        terms = logp_negative.exp() * (logp_negative - logp)
        parts.append(terms.masked_fill(logp_negative.isneginf(), 0.0).sum(dim=-1))
    kl = torch.cat(parts) if parts else logits.new_zeros(0).float()
    if rows is not None and len(rows):
        sums = torch.zeros(int(rows.max()) + 1, device=rows.device).index_add(0, rows, kl)
        kl = (sums / rows.bincount().clamp(min=1))[rows]
    # Rounding can make a zero KL slightly negative; clamp it.
    return kl.clamp(min=0).tanh()


def mixed_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor, hard: float, soft: Tensor
) -> Tensor:
    """``-sum_v target_v logp_v``, ``target = hard * onehot(label) + soft * softmax(teacher)``.

    Both cross-entropies at once, in float32 and in blocks: beside one gradient, nothing as large as
    the logits is allocated. Neither the teacher nor the weights get a gradient.

    Args:
        logits: (b, t, v), logits of the student.
        labels: (b, t) int64, of which n are not ``IGNORE``.
        teacher: (n, v), logits of the teacher at the labels.
        hard: weight of the labels.
        soft: (n,) float32, weight of the teacher at each label.

    Returns:
        (n,) float32, in nats.
    """
    return _MixedLoss.apply(logits, labels, teacher, hard, soft)  # pyright: ignore[reportReturnType] - torch types it so


class _MixedLoss(torch.autograd.Function):
    """The gradient ``(hard + soft) softmax(logits) - target`` is computed in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, teacher: Tensor, hard: float, soft: Tensor
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, teacher, soft)
        ctx.hard = hard
        rows, positions = (labels != IGNORE).nonzero(as_tuple=True)
        losses = teacher.new_empty(len(teacher), dtype=torch.float32)
        for part in _blocks(teacher):
            at = rows[part], positions[part]
            logp = logits[at].float().log_softmax(dim=-1)
            target = _target(teacher[part], labels[at], hard, soft[part])
            # 0 * log 0 is 0: a token that both models rule out adds nothing, not NaN.
            logp.mul_(target).masked_fill_(target == 0, 0.0)
            losses[part] = -logp.sum(dim=-1)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, teacher, soft = ctx.saved_tensors
        rows, positions = (labels != IGNORE).nonzero(as_tuple=True)
        result = torch.zeros_like(logits)
        for part in _blocks(teacher):
            at = rows[part], positions[part]
            gradient = logits[at].float().softmax(dim=-1).mul_((ctx.hard + soft[part])[:, None])
            gradient -= _target(teacher[part], labels[at], ctx.hard, soft[part])
            result[at] = gradient.mul_(gradients[0][part, None]).to(result.dtype)
        return result, None, None, None, None


def _target(teacher: Tensor, labels: Tensor, hard: float, soft: Tensor) -> Tensor:
    """``hard * onehot(label) + soft * softmax(teacher)`` of n positions, (n, v) float32."""
    target = teacher.float().softmax(dim=-1).mul_(soft[:, None])
    return target.index_put_(
        (torch.arange(len(labels), device=labels.device), labels),
        target.new_tensor(hard),
        accumulate=True,
    )


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of the rows of about a million elements each."""
    size = max(1, _BLOCK // max(1, logits.shape[-1]))
    for start in range(0, len(logits), size):
        yield slice(start, start + size)
