"""NCE: a NAT model distilled into plain LoRA, most where the negative model disagrees with it."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.adapters.active import active_adapter
from reason_decode.adapters.nat import NAT, NEGATIVE, load_nat
from reason_decode.training.adapter_config import CalibrationLevel, NCEConfig
from reason_decode.training.distillation import calibration, mixed_loss
from reason_decode.training.examples import IGNORE, solution_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import load_base, lora_config
from reason_decode.training.trainer import train

__all__ = ["TeacherOutputs", "distillation_loss", "teacher_outputs", "train_nce"]

_OFFSET = 0.5
_STUDENT = "default"
"""peft's own name for a single adapter; it is saved where peft and transformers look for it."""


class TeacherOutputs(NamedTuple):
    """Side inputs of ``distillation_loss``: outputs of the teachers at the n labels of a batch.

    Attributes:
        logits: (n, v), logits of the NAT model.
        weights: (n,) float32, weight of the distillation at each label.
    """

    logits: Tensor
    weights: Tensor


def train_nce(
    model: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    output: str | Path,
    config: NCEConfig,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Distill a NAT model into plain LoRA matrices, which peft loads, merges and exports.

    ``L = alpha * -log p(token) + (1 - alpha) * w * -sum_v p_NAT(v) log p(v)``, the mean over the
    tokens of D_pos, with ``w = 0.5 + beta`` and ``beta`` by ``calibration``. One base model with
    three adapters is in memory; both teachers read a batch before the student does.

    Args:
        model: the model that the NAT adapter was trained on, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        right: samples with right answers, perhaps also samples of the NAT model itself.
        output: folder of the adapter or model, with checkpoints, log and loss plot.
        config: the settings, with the folder of the NAT adapter, whose layers the student adapts.
        held_out: right samples whose loss is measured after every epoch.

    Returns:
        Counts and losses; see ``trainer.train``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        FileNotFoundError: there is no NAT adapter, or its negative adapter is missing.
        ValueError: no sample.

    Source: Li et al. 2024, 2312.12832, section 3.3, equations 6 to 8; Yiwei98/TDG at ca86f56,
    code/distill_NCE.py, lines 81 to 149. Differences: prompts and padding are not learned and do
    not count in beta, and the teachers run without dropout.
    """
    lora = lora_config(config.lora_rank, dropout=config.lora_dropout, task_type="CAUSAL_LM")
    set_seed(config.seed)
    base = load_base(model)
    learner = load_nat(base, config.nat)
    lora.target_modules = learner.peft_config[NEGATIVE].target_modules
    lora.base_model_name_or_path = base.name_or_path
    learner.add_adapter(_STUDENT, lora)
    learner.set_adapter(_STUDENT)
    encode = partial(
        solution_examples,
        tokenizer=tokenizer,
        model=learner,
        separator=config.separator,
        chat=config.chat,
    )
    return train(
        learner.train(),
        tokenizer,
        list(encode(right)),
        output,
        config,
        loss=partial(distillation_loss, alpha=config.alpha),
        held_out=list(encode(held_out)),
        merge_lora=config.merge_lora,
        adapters=[_STUDENT],
        side_inputs=partial(teacher_outputs, learner, calibrate_by=config.calibrate_by),
    )


@torch.no_grad()
def teacher_outputs(
    model: Any, batch: Mapping[str, Tensor], *, calibrate_by: CalibrationLevel = "sequence"
) -> TeacherOutputs:
    """Logits of the NAT model at each label of a batch, and the weight of their distillation.

    The active adapter is restored afterwards. The logits of the negative model are freed before the
    student reads the batch, so the peak of memory is that of plain distillation.

    Args:
        model: a peft model with the adapters ``nat`` and ``negative``.
        batch: inputs of the model, and ``labels`` (b, t) int64, the token after each position.
        calibrate_by: see ``NCEConfig``.
    """
    known = batch["labels"] != IGNORE
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    training = model.training
    model.eval()
    try:
        with active_adapter(model, NAT):
            logits = model(**inputs).logits[known]
        if calibrate_by == "none":
            return TeacherOutputs(logits, torch.ones(len(logits), device=logits.device))
        with active_adapter(model, NEGATIVE):
            negative = model(**inputs).logits[known]
    finally:
        model.train(training)
    rows = None if calibrate_by == "token" else torch.nonzero(known)[:, 0]
    return TeacherOutputs(logits, _OFFSET + calibration(logits, negative, rows))


def distillation_loss(
    output: Any,
    labels: Tensor,
    num_items_in_batch: Any = None,
    *,
    side_inputs: TeacherOutputs,
    alpha: float = 0.5,
) -> Tensor:
    """Mean of ``alpha * -log p(label) + (1 - alpha) * w * -sum_v p_teacher(v) log p(v)``.

    Args:
        output: output with ``logits`` (b, t, v) of the student.
        labels: (b, t) int64, the token after each position, or ``IGNORE``.
        num_items_in_batch: number of labels in all batches of the optimizer step; ``None``: in this
            batch.
        side_inputs: outputs of the teachers on this batch.
        alpha: weight of the loss on the tokens themselves.

    Source: Yiwei98/TDG at ca86f56, code/distill_NCE.py, lines 81 and 144 to 149.
    """
    count = (labels != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
    weights = (1 - alpha) * side_inputs.weights
    losses = mixed_loss(output.logits, labels, side_inputs.logits, alpha, weights)
    return losses.sum() / max(1, count)
