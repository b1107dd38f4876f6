"""Settings of the trainers, named as in transformers; importing this module loads no torch."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = [
    "EvalStrategy",
    "FreezableConfig",
    "LoraTrainingConfig",
    "LossOn",
    "MergeableConfig",
    "ORMConfig",
    "PRMConfig",
    "PRMHead",
    "RationalystConfig",
    "TrainingConfig",
    "WeightDtype",
    "check_choices",
    "check_positive",
    "check_share",
]

PRMHead = Literal["token-classification", "math-shepherd"]
LossOn = Literal["rationale", "following", "both"]
WeightDtype = Literal["float32", "auto"]
EvalStrategy = Literal["no", "epoch", "steps"]


def check_choices(config: Any) -> None:
    """Raise ``ValueError`` if a field of a ``Literal`` type has another value."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and getattr(config, name) not in get_args(kind):
            allowed = ", ".join(map(repr, get_args(kind)))
            raise ValueError(f"got {name}={getattr(config, name)!r}; allowed are {allowed}")


def check_positive(config: Any, *names: str) -> None:
    """Raise ``ValueError`` if one of these fields is not positive and finite, or ``None``."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"got {name}={value}; it must be positive")


def check_share(config: Any, *names: str) -> None:
    """Raise ``ValueError`` if one of these fields is not in [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"got {name}={getattr(config, name)}; it must be from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, step size and memory of a training run, named as in ``TrainingArguments``.

    Args:
        num_train_epochs: passes over the examples, also a fraction (default: 1; 30 where the body
            is frozen).
        batch_size: examples per forward pass.
        gradient_accumulation_steps: forward passes per optimizer step; the loss is the mean over
            all their labels.
        learning_rate: peak of a linear warm-up followed by a cosine decay (default: 1e-4; 1e-3
            where the body is frozen).
        warmup_steps: optimizer steps until the peak; below 1, the share of all steps.
        weight_decay: weight decay of AdamW.
        seed: seed of the order of examples, of new weights and of dropout.
        bf16: compute in bfloat16 by autocast, while the weights keep their dtype; ignored on a CPU
            without bfloat16 instructions, which would emulate them, many times slower.
        save_steps: optimizer steps between two checkpoints.
        max_length: maximum number of tokens of an example; longer ones are left out and counted.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        min_steps: minimum number of optimizer steps; epochs are added until it is reached.
        dtype: dtype of the weights while they are trained and saved: ``float32``, or ``auto`` for
            that of the checkpoint. In bfloat16 an update of 1e-5 changes one weight in ten.
        report_to: where transformers' Trainer reports the run: ``none``, ``tensorboard``, ``wandb``
            and the like; ``log.jsonl`` and the plot are always written.
        eval_strategy: when held-out examples are measured: after every ``epoch``, every
            ``eval_steps`` optimizer steps (``steps``), or never (``no``).
        eval_steps: optimizer steps between two measurements.
        load_best_model_at_end: keep the checkpoint that is best on the held-out examples, not the
            last one.
        metric_for_best_model: metric that decides which is best: ``loss``, or a metric of what is
            trained (default: ``first_error_f1`` of PRMs, ``accuracy`` of ORMs, ``pair_accuracy`` of
            rankers, ``loss`` of others).
        early_stopping_patience: stop after this many measurements without a better one, and keep
            the best checkpoint.
        push_to_hub: upload the finished model, with its card, to a private repository of the Hub.
        hub_model_id: name of that repository (default: the name of the folder).
        restart: delete the checkpoints of an earlier run in the same folder, and train anew.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import TrainingConfig
        >>> TrainingConfig(num_train_epochs=3, bf16=True).batch_size
        16
    """

    num_train_epochs: float | None = None
    batch_size: int = 16
    gradient_accumulation_steps: int = 1
    learning_rate: float | None = None
    warmup_steps: float = 0.05
    weight_decay: float = 0.01
    seed: int = 0
    bf16: bool = False
    save_steps: int = 500
    max_length: int = 4096
    gradient_checkpointing: bool = False
    min_steps: int = 0
    dtype: WeightDtype = "float32"
    report_to: str = "none"
    eval_strategy: EvalStrategy = "epoch"
    eval_steps: int = 500
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    early_stopping_patience: int | None = None
    push_to_hub: bool = False
    hub_model_id: str | None = None
    restart: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(
            self,
            *("num_train_epochs", "batch_size", "gradient_accumulation_steps", "learning_rate"),
            *("save_steps", "max_length", "eval_steps", "early_stopping_patience"),
        )
        if self.hub_model_id is not None and not self.push_to_hub:
            raise ValueError(
                f"got hub_model_id={self.hub_model_id} without push_to_hub; set it, or drop it"
            )
        if self.metric_for_best_model is not None and not self.keeps_best:
            raise ValueError(
                f"got metric_for_best_model={self.metric_for_best_model}, and the last checkpoint "
                "is kept; set load_best_model_at_end, or drop the metric"
            )

    @property
    def epochs(self) -> float:
        """Passes over the examples."""
        return self._default("num_train_epochs", 1.0, frozen=30.0)

    @property
    def peak(self) -> float:
        """The largest learning rate."""
        return self._default("learning_rate", 1e-4, frozen=1e-3)

    def _default(self, name: str, value: float, frozen: float) -> float:
        given = getattr(self, name)
        return given if given is not None else frozen if getattr(self, "freeze", False) else value

    @property
    def keeps_best(self) -> bool:
        """True if the checkpoint that is best on the held-out examples is kept."""
        return self.load_best_model_at_end or self.early_stopping_patience is not None


@dataclass(frozen=True, kw_only=True)
class LoraTrainingConfig(TrainingConfig):
    """Settings of trainings of all weights, or of LoRA matrices.

    Args:
        lora_rank: rank of LoRA matrices; all weights are trained without one.
        lora_alpha: scale of the matrices times their rank (default: twice the rank).
        target_modules: names of the layers that get LoRA matrices, such as ``q_proj``; empty for
            all linear layers but the output layer.

    Raises:
        ValueError: a number is not positive, or LoRA options are given without a rank.

    Examples:
        >>> from reason_decode.training.config import LoraTrainingConfig
        >>> LoraTrainingConfig(lora_rank=16).lora_alpha is None
        True
    """

    lora_rank: int | None = None
    lora_alpha: int | None = None
    target_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "lora_rank", "lora_alpha")
        if self.lora_rank is None and (self.lora_alpha is not None or self.target_modules):
            raise ValueError(
                f"got lora_alpha={self.lora_alpha} and target_modules={self.target_modules} "
                "without LoRA matrices; set lora_rank, or drop them"
            )


@dataclass(frozen=True, kw_only=True)
class MergeableConfig(LoraTrainingConfig):
    """Settings of trainings whose LoRA matrices are merged, or saved as an adapter.

    Args:
        merge_lora: merge the LoRA matrices into the weights at the end; else the adapter alone is
            saved, which names the model that it belongs to.

    Raises:
        ValueError: a number is not positive, or ``merge_lora`` is off without LoRA.

    Examples:
        >>> from reason_decode.training.config import MergeableConfig
        >>> MergeableConfig(lora_rank=16, merge_lora=False).lora_rank
        16
    """

    merge_lora: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.merge_lora and self.lora_rank is None:
            raise ValueError(
                "got merge_lora=False without LoRA matrices; set lora_rank, or leave merge_lora out"
            )


@dataclass(frozen=True, kw_only=True)
class FreezableConfig(LoraTrainingConfig):
    """Settings of trainings of all weights, of LoRA matrices, or of the head alone.

    Args:
        freeze: train the head alone: the body reads each solution once, its hidden states are kept
            in the folder of the run, and every epoch learns from these. It needs no more memory
            than scoring, and one forward pass over the data.
        layer: number of layers of the body that are kept, from the first; the head reads what the
            last of them gives, and the saved model has no others (default: all).

    Raises:
        ValueError: a number is not positive, LoRA or gradient checkpointing with a frozen body, or
            ``layer`` without one.

    Source: a head on an inner layer is a probe, Alain and Bengio 2016, 1610.01644.

    Examples:
        >>> from reason_decode.training.config import FreezableConfig
        >>> FreezableConfig(freeze=True, layer=16).epochs
        30.0
    """

    freeze: bool = False
    layer: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "layer")
        if self.layer is not None and not self.freeze:
            raise ValueError(
                f"got layer={self.layer} without freeze; set freeze (--freeze), or drop layer"
            )
        if self.freeze and (self.lora_rank is not None or self.gradient_checkpointing):
            raise ValueError(
                f"got freeze with lora_rank={self.lora_rank} and "
                f"gradient_checkpointing={self.gradient_checkpointing}; a frozen body is not "
                "trained: drop them, or freeze"
            )


@dataclass(frozen=True, kw_only=True)
class PRMConfig(MergeableConfig, FreezableConfig):
    """Settings of ``train_prm``.

    Args:
        head: ``token-classification``, a new classification head unless the model has one with as
            many labels; or ``math-shepherd``, the tokens ``+`` and ``-`` at a tag ``ки``, which the
            tokenizer must have.
        num_labels: 2 for wrong and right steps, or 3 for wrong, neutral and right ones.
        separator: text that ends a step.
        soft_labels: learn labels that are probabilities as they are; else, and with three labels,
            right or wrong by the threshold that they were read with.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import PRMConfig
        >>> PRMConfig(lora_rank=16).head
        'token-classification'
    """

    head: PRMHead = "token-classification"
    num_labels: Literal[2, 3] = 2
    separator: str = "\n"
    soft_labels: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_labels == 3 and self.head != "token-classification":
            raise ValueError(
                f"got num_labels=3 with head={self.head!r}, which has the tokens of two labels; "
                "take head='token-classification'"
            )
        if self.freeze and self.head != "token-classification":
            raise ValueError(
                f"got freeze with head={self.head!r}, the output layer of a language model; take "
                "head='token-classification'"
            )


@dataclass(frozen=True, kw_only=True)
class ORMConfig(MergeableConfig, FreezableConfig):
    """Settings of ``train_orm``.

    Args:
        separator: text that ends a step.
        chat: format prompts with the tokenizer's chat template; ``None``: if there is one.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import ORMConfig
        >>> ORMConfig(batch_size=4).chat is None
        True
    """

    separator: str = "\n"
    chat: bool | None = None


@dataclass(frozen=True, kw_only=True)
class RationalystConfig(MergeableConfig):
    """Settings of ``train_rationalyst``.

    Args:
        loss_on: text that is learned: the ``rationale``, the ``following`` text given the
            rationale, or ``both``, for a model that also scores steps by its own rationales.
        share_without_rationale: share of the records whose following text is learned without the
            rationale, too, in [0, 1].
        separator: text that ends a step; the following text is read as one step.
        chat: format texts with the tokenizer's chat template; ``None``: if there is one.

    Raises:
        ValueError: a number is not positive, a value is not allowed, or ``merge_lora`` is off
            without LoRA.

    Examples:
        >>> from reason_decode.training import RationalystConfig
        >>> RationalystConfig(loss_on="both").share_without_rationale
        0.25
    """

    loss_on: LossOn = "rationale"
    share_without_rationale: float = 0.25
    separator: str = "\n"
    chat: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "share_without_rationale")
