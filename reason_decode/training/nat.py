"""Training on wrong samples: a negative LoRA adapter, then NAT, which gates it per token."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.adapters.active import require_peft
from reason_decode.adapters.nat import NAT, NEGATIVE, add_nat
from reason_decode.training.adapter_config import NATConfig, NegativeConfig
from reason_decode.training.examples import solution_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import load_base, load_with_lora
from reason_decode.training.losses import token_loss
from reason_decode.training.trainer import train

__all__ = ["train_nat", "train_negative"]


def train_negative(
    model: str | Path,
    tokenizer: Tokenizer,
    wrong: Sequence[LabelledSolution],
    output: str | Path,
    config: NegativeConfig | None = None,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train LoRA matrices on wrong samples; peft loads them, and ``train_nat`` builds on them.

    Minimizes the mean of ``-log p(token | prompt, tokens before it)`` over D_neg.

    Args:
        model: the model to start from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        wrong: D_neg, samples with wrong answers; see ``grade_samples``.
        output: folder of the adapter, with checkpoints, log and loss plot.
        config: the settings; the defaults of ``NegativeConfig`` if left out.
        held_out: wrong samples whose loss is measured after every epoch.

    Returns:
        Counts and losses; see ``trainer.train``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample.

    Source: Li et al. 2024, 2312.12832, equation 3; rank and dropout of Yiwei98/TDG,
    code/finetune.py. The paper's target modules are ``("q_proj", "v_proj")``.
    """
    config = config or NegativeConfig()
    learner = load_with_lora(
        model,
        config.lora_rank,
        alpha=config.lora_alpha,
        target_modules=config.target_modules,
        dropout=config.lora_dropout,
        seed=config.seed,
    )
    encode = partial(
        solution_examples,
        tokenizer=tokenizer,
        model=learner,
        separator=config.separator,
        chat=config.chat,
    )
    return train(
        learner,
        tokenizer,
        list(encode(wrong)),
        output,
        config,
        loss=token_loss,
        held_out=list(encode(held_out)),
        merge_lora=False,
    )


def train_nat(
    model: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    output: str | Path,
    config: NATConfig,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train a positive LoRA adapter and the gate that mixes it with a negative one.

    Minimizes the mean of ``-log p(token | prompt, tokens before it)`` over D_pos; the model and the
    negative adapter are frozen. ``load_nat`` loads the result.

    Args:
        model: the model that the negative adapter was trained on, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        right: D_pos, samples with right answers; see ``grade_samples``.
        output: folder that gets both adapters, in folders of their own.
        config: the settings, with the folder of the negative adapter.
        held_out: right samples whose loss is measured after every epoch.

    Returns:
        Counts and losses; see ``trainer.train``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample, or a negative adapter that is not plain LoRA.

    Source: Li et al. 2024, 2312.12832, section 3.2, equations 4 and 5; Yiwei98/TDG,
    code/finetune.py.
    """
    require_peft()
    from peft import PeftModel

    set_seed(config.seed)
    base = load_base(model)
    learner = PeftModel.from_pretrained(base, str(config.negative), adapter_name=NEGATIVE)
    add_nat(
        learner,
        rank=config.lora_rank,
        gate_dim=config.gate_dim,
        beta=config.beta,
        dropout=config.lora_dropout,
    )
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
        loss=token_loss,
        held_out=list(encode(held_out)),
        merge_lora=False,
        adapters=[NEGATIVE, NAT],
    )
