"""Training on wrong samples: a negative LoRA, then NAT, which weighs it against a positive one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.adapters.active import need_peft
from reason_decode.adapters.nat import NAT, NEGATIVE, add_nat
from reason_decode.training.grading import fit_solutions
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import begin_lora, load_base
from reason_decode.training.losses import token_loss
from reason_decode.training.trainer import TrainingConfig

__all__ = ["train_nat", "train_negative"]


def train_negative(
    source: str | Path,
    tokenizer: Tokenizer,
    wrong: Sequence[LabelledSolution],
    out: str | Path,
    *,
    lora: int = 8,
    targets: str | Sequence[str] = "all-linear",
    dropout: float = 0.05,
    separator: str = "\n",
    chat: bool = False,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train LoRA matrices on wrong samples; peft loads them, ``train_nat`` builds on them.

    Minimises the mean of ``-log p(token | prompt, all before it)`` over D_neg.

    Args:
        source: the model to begin with, a folder or a Hub id.
        tokenizer: its own.
        wrong: samples with wrong answers, see ``grade_samples``.
        out: a folder; checkpoints, the log and its plot go there too.
        lora: rank of the matrices.
        targets: names of the layers that get them; the paper's are ``("q_proj", "v_proj")``.
        dropout: of the matrices' input.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        recipe: how long and how fast.
        held_out: measured after every epoch.

    Returns:
        Counts and losses, see ``fit``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample, or an argument out of range.

    Source: Li et al. 2024, 2312.12832, equation 3; rank and dropout of Yiwei98/TDG,
    code/finetune.py.
    """
    recipe = recipe or TrainingConfig()
    model = begin_lora(source, lora, targets=targets, dropout=dropout, seed=recipe.seed)
    how: dict[str, Any] = {"separator": separator, "chat": chat}
    return fit_solutions(
        model, tokenizer, wrong, held_out, out, **how, loss=token_loss, recipe=recipe, fold=False
    )


def train_nat(
    source: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    out: str | Path,
    *,
    negative: str | Path,
    lora: int = 8,
    unit: int = 128,
    beta: float = 0.5,
    dropout: float = 0.05,
    separator: str = "\n",
    chat: bool = False,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train a positive LoRA and the unit that integrates a negative one; see ``load_nat``.

    Minimises the mean of ``-log p(token | prompt, all before it)`` over D_pos; base and negative
    stay as they are.

    Args:
        source: the model that the negative adapter was trained on.
        tokenizer: its own.
        right: samples with right answers, see ``grade_samples``.
        out: a folder, with both adapters in folders of their own at the end.
        negative: the folder of the negative adapter, or a Hub id.
        lora: rank of the positive LoRA matrices.
        unit: width of the unit; see ``add_nat``, and ``beta`` and ``dropout`` there.
        beta: bound of the negative branch's weight.
        dropout: of the positive branch.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        recipe: how long and how fast.
        held_out: measured after every epoch.

    Returns:
        Counts and losses, see ``fit``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample, an argument out of range, or a negative adapter that is not LoRA.

    Source: Li et al. 2024, 2312.12832, section 3.2, equations 4 and 5; Yiwei98/TDG,
    code/finetune.py.
    """
    recipe = recipe or TrainingConfig()
    need_peft()
    from peft import PeftModel

    set_seed(recipe.seed)
    base = load_base(source)
    model = PeftModel.from_pretrained(base, str(negative), adapter_name=NEGATIVE)
    add_nat(model, rank=lora, dim=unit, beta=beta, dropout=dropout)
    how: dict[str, Any] = {"separator": separator, "chat": chat}
    return fit_solutions(
        model.train(),
        tokenizer,
        right,
        held_out,
        out,
        **how,
        loss=token_loss,
        recipe=recipe,
        fold=False,
        adapters=[NEGATIVE, NAT],
    )
