"""NCE: what NAT knows, distilled into a plain LoRA, most where the negative model disagrees."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.adapters.active import active_adapter
from reason_decode.adapters.nat import NAT, NEGATIVE, load_nat
from reason_decode.training.examples import IGNORE
from reason_decode.training.grading import fit_solutions
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import load_base, lora_config
from reason_decode.training.trainer import TrainingConfig

__all__ = [
    "CalibrationLevel",
    "Told",
    "calibration",
    "distilled_loss",
    "mixed_loss",
    "teach",
    "train_nce",
]

CalibrationLevel = Literal["sequence", "token", "none"]
OFFSET = 0.5
_BLOCK = 1 << 20
_STUDENT = "default"
"""peft's own name for the only adapter: it is saved where stock loaders look."""


class Told(NamedTuple):
    """What the teachers say of a batch that has n labels.

    Args:
        logits: (n, v) of the NAT model, at the labels.
        weights: (n,) float32, the factor of each label's distillation.
    """

    logits: Tensor
    weights: Tensor


def train_nce(
    source: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    out: str | Path,
    *,
    nat: str | Path,
    lora: int = 8,
    weigh: CalibrationLevel = "sequence",
    alpha: float = 0.5,
    dropout: float = 0.05,
    fold: bool = False,
    separator: str = "\n",
    chat: bool = False,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Distil a NAT model into plain LoRA matrices, which peft loads, merges and exports.

    ``L = alpha * -log p(token) + (1 - alpha) * w * -sum_v p_NAT(v) log p(v)``, the mean over the
    tokens of D_pos, with ``w = 0.5 + beta`` of ``calibration``. One base is in memory, with three
    adapters that take turns: both teachers read a batch before the student does.

    Args:
        source: the model that the NAT adapter was trained on.
        tokenizer: its own.
        right: samples with right answers, and perhaps samples of the NAT model itself.
        out: a folder; checkpoints, the log and its plot go there too.
        nat: the folder that ``train_nat`` wrote.
        lora: rank of the student's matrices; they are on the layers that NAT is on.
        weigh: one beta a sequence, as in the code; or one a token, our extension; ``"none"``: plain
            distillation, w = 1, to compare with.
        alpha: weight of the samples' own tokens, in [0, 1].
        dropout: of the matrices' input.
        fold: whether the matrices are added to the weights and a whole model is saved.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        recipe: how long and how fast.
        held_out: measured after every epoch.

    Returns:
        Counts and losses, see ``fit``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        FileNotFoundError: there is no NAT adapter, or its negative one is missing.
        ValueError: no sample, or an argument out of range.

    Source: Li et al. 2024, 2312.12832, section 3.3, equations 6 to 8; Yiwei98/TDG at ca86f56,
    code/distill_NCE.py, lines 81 to 149. Not as there: prompts and padding are not learnt and have
    no part in beta, and teachers are without dropout.
    """
    if weigh not in get_args(CalibrationLevel) or not 0 <= alpha <= 1:
        raise ValueError(
            f"got weigh={weigh!r}, alpha={alpha}; allowed are {', '.join(get_args(CalibrationLevel))}, and an "
            "alpha from 0 to 1"
        )
    recipe = recipe or TrainingConfig()
    config = lora_config(lora, dropout=dropout, task_type="CAUSAL_LM")
    set_seed(recipe.seed)
    base = load_base(source)
    model = load_nat(base, nat)
    config.target_modules = model.peft_config[NEGATIVE].target_modules
    config.base_model_name_or_path = base.name_or_path
    model.add_adapter(_STUDENT, config)
    model.set_adapter(_STUDENT)
    how: dict[str, Any] = {"separator": separator, "chat": chat}
    return fit_solutions(
        model.train(),
        tokenizer,
        right,
        held_out,
        out,
        **how,
        loss=partial(distilled_loss, alpha=alpha),
        recipe=recipe,
        fold=fold,
        adapters=[_STUDENT],
        tell=partial(teach, model, weigh=weigh),
    )


@torch.no_grad()
def teach(model: Any, batch: Mapping[str, Tensor], *, weigh: CalibrationLevel = "sequence") -> Told:
    """What the NAT model says at each label of a batch, and how much it is to be listened to.

    The adapter that was active is so again afterwards. The negative model's logits are gone before
    the student reads, so that its peak of memory is that of plain distillation.

    Args:
        model: peft's, with the adapters ``nat`` and ``negative``.
        batch: what the model takes, and ``labels`` (b, t) int64, the token behind each place.
        weigh: see ``train_nce``.
    """
    learnt = batch["labels"] != IGNORE
    given = {name: x for name, x in batch.items() if name != "labels"}
    training = model.training
    model.eval()
    try:
        with active_adapter(model, NAT):
            logits = model(**given).logits[learnt]
        if weigh == "none":
            return Told(logits, torch.ones(len(logits), device=logits.device))
        with active_adapter(model, NEGATIVE):
            negative = model(**given).logits[learnt]
    finally:
        model.train(training)
    rows = None if weigh == "token" else torch.nonzero(learnt)[:, 0]
    return Told(logits, OFFSET + calibration(logits, negative, rows))


@torch.no_grad()
def calibration(logits: Tensor, negative: Tensor, rows: Tensor | None = None) -> Tensor:
    """``beta = tanh(mean_t KL(p_neg,t || p_NAT,t))`` of each sequence, or without the mean.

    Args:
        logits: (n, v) of the NAT model.
        negative: (n, v) of the negative model, at the same places.
        rows: (n,) int64, which sequence each place is of, the mean being over its places; ``None``:
            each place has a beta of its own.

    Returns:
        (n,) float32 in [0, 1].

    Source: Yiwei98/TDG at ca86f56, code/distill_NCE.py, lines 138 to 143, which adds 1e-7 to
    probabilities and averages over prompts too.

    Example:
        >>> import torch
        >>> nat, negative = torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
        >>> calibration(nat, negative, torch.tensor([0, 0, 1])).tolist()[1:]
        [0.33270215988159...
    """
    parts = []
    for part in _blocks(logits):
        logp, logp_negative = (x[part].float().log_softmax(dim=-1) for x in (logits, negative))
        # Where a token is impossible for the negative model its term is 0, not NaN.
        terms = logp_negative.exp() * (logp_negative - logp)
        parts.append(terms.masked_fill(logp_negative.isneginf(), 0.0).sum(dim=-1))
    divergence = torch.cat(parts) if parts else logits.new_zeros(0).float()
    if rows is not None and len(rows):
        sums = torch.zeros(int(rows.max()) + 1, device=rows.device).index_add(0, rows, divergence)
        divergence = (sums / rows.bincount().clamp(min=1))[rows]
    # Rounding may leave less than nothing of a divergence that is nothing.
    return divergence.clamp(min=0).tanh()


def distilled_loss(
    output: Any, labels: Tensor, num_items_in_batch: Any = None, *, told: Told, alpha: float = 0.5
) -> Tensor:
    """The mean of ``alpha * -log p(label) + (1 - alpha) * w * -sum_v p_teacher(v) log p(v)``.

    Args:
        output: has ``logits`` (b, t, v) of the student.
        labels: (b, t) int64, the token behind each place, or ``IGNORE``.
        num_items_in_batch: labels in all batches of the update; ``None``: those given here.
        told: what the teachers said of this batch.
        alpha: weight of the tokens themselves.

    Source: Yiwei98/TDG at ca86f56, code/distill_NCE.py, lines 81 and 144 to 149.
    """
    count = (labels != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
    weights = (1 - alpha) * told.weights
    return mixed_loss(output.logits, labels, told.logits, alpha, weights).sum() / max(1, count)


def mixed_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor, hard: float, soft: Tensor
) -> Tensor:
    """``-sum_v target_v logp_v``, ``target = hard * onehot(label) + soft * softmax(teacher)``.

    Both cross-entropies at once, in float32 and in blocks: beside one gradient nothing as large as
    the logits is made. The teacher gets no gradient, nor do the weights.

    Args:
        logits: (b, t, v) of the student.
        labels: (b, t) int64, or ``IGNORE``; n that are not.
        teacher: (n, v), its logits at the labels.
        hard: weight of the labels.
        soft: (n,) float32, weights of the teacher.

    Returns:
        (n,) float32, in nats.
    """
    return _MixedLoss.apply(logits, labels, teacher, hard, soft)  # pyright: ignore[reportReturnType] - torch types it so


class _MixedLoss(torch.autograd.Function):
    """The gradient is ``(hard + soft) softmax(logits) - target``, which is made when asked for."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, teacher: Tensor, hard: float, soft: Tensor
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, teacher, soft)
        ctx.hard = hard
        rows, places = (labels != IGNORE).nonzero(as_tuple=True)
        found = teacher.new_empty(len(teacher), dtype=torch.float32)
        for part in _blocks(teacher):
            at = rows[part], places[part]
            logp = logits[at].float().log_softmax(dim=-1)
            target = _target(teacher[part], labels[at], hard, soft[part])
            # A token that both rule out has no part in it: 0 * -inf is NaN.
            logp.mul_(target).masked_fill_(target == 0, 0.0)
            found[part] = -logp.sum(dim=-1)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, teacher, soft = ctx.saved_tensors
        rows, places = (labels != IGNORE).nonzero(as_tuple=True)
        result = torch.zeros_like(logits)
        for part in _blocks(teacher):
            at = rows[part], places[part]
            step = logits[at].float().softmax(dim=-1).mul_((ctx.hard + soft[part])[:, None])
            step -= _target(teacher[part], labels[at], ctx.hard, soft[part])
            result[at] = step.mul_(gradients[0][part, None]).to(result.dtype)
        return result, None, None, None, None


def _target(teacher: Tensor, labels: Tensor, hard: float, soft: Tensor) -> Tensor:
    """What a block of places should say, (n, v) float32."""
    target = teacher.float().softmax(dim=-1).mul_(soft[:, None])
    return target.index_put_(
        (torch.arange(len(labels), device=labels.device), labels),
        target.new_tensor(hard),
        accumulate=True,
    )


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Parts of the rows that hold about a million numbers each."""
    size = max(1, _BLOCK // max(1, logits.shape[-1]))
    for start in range(0, len(logits), size):
        yield slice(start, start + size)
