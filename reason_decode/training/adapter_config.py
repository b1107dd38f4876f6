"""Settings of the trainers of LoRA adapters, and of the sampling that adds to their data."""

from dataclasses import dataclass
from typing import Literal

from reason_decode.training.config import (
    TrainingConfig,
    check_positive,
    check_share,
)

__all__ = [
    "AdapterConfig",
    "BaselineConfig",
    "BaselineMethod",
    "CalibrationLevel",
    "NATConfig",
    "NCEConfig",
    "NegativeConfig",
    "SamplingConfig",
    "UnlikelihoodLevel",
]

CalibrationLevel = Literal["sequence", "token", "none"]
BaselineMethod = Literal["ft", "cot-kd", "mix", "cl", "nt", "ul"]
UnlikelihoodLevel = Literal["token", "sequence"]


@dataclass(frozen=True, kw_only=True)
class AdapterConfig(TrainingConfig):
    """Settings that all trainers of LoRA adapters have.

    Args:
        lora_rank: rank of the LoRA matrices.
        lora_dropout: share of the input of the LoRA matrices that is dropped in training.
        separator: text that ends a step.
        chat: format prompts as user turns of the tokenizer's chat template.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training.adapter_config import AdapterConfig
        >>> AdapterConfig().lora_rank
        8
    """

    lora_rank: int = 8
    lora_dropout: float = 0.05
    separator: str = "\n"
    chat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "lora_rank")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(
                f"got lora_dropout={self.lora_dropout}; it must be at least 0 and below 1"
            )


@dataclass(frozen=True, kw_only=True)
class NegativeConfig(AdapterConfig):
    """Settings of ``train_negative``.

    Args:
        lora_alpha: scale of the matrices times their rank (default: twice the rank).
        target_modules: names of the layers that get LoRA matrices, such as ``q_proj``; empty for
            all linear layers but the output layer.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import NegativeConfig
        >>> NegativeConfig(target_modules=("q_proj", "v_proj")).lora_dropout
        0.05
    """

    lora_alpha: int | None = None
    target_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "lora_alpha")


@dataclass(frozen=True, kw_only=True)
class NATConfig(AdapterConfig):
    """Settings of ``train_nat``.

    Args:
        negative: folder or Hub id of the negative adapter that ``train_negative`` wrote.
        gate_dim: width of the queries, keys and values of the gate.
        beta: upper bound of the weight of the negative branch, in (0, 1].

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import NATConfig
        >>> NATConfig(negative="runs/negative").gate_dim
        128
    """

    negative: str
    gate_dim: int = 128
    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "gate_dim", "beta")
        check_share(self, "beta")


@dataclass(frozen=True, kw_only=True)
class NCEConfig(AdapterConfig):
    """Settings of ``train_nce``.

    Args:
        nat: folder that ``train_nat`` wrote.
        calibrate_by: weight the distillation by the teachers' divergence averaged over each
            ``sequence``, as published, or at each ``token``; ``none`` for plain distillation.
        alpha: weight of the loss on the samples' own tokens, in [0, 1]; the distillation has the
            rest.
        merge_lora: merge the LoRA matrices into the weights and save a whole model.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import NCEConfig
        >>> NCEConfig(nat="runs/nat", calibrate_by="token").alpha
        0.5
    """

    nat: str
    calibrate_by: CalibrationLevel = "sequence"
    alpha: float = 0.5
    merge_lora: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "alpha")


@dataclass(frozen=True, kw_only=True)
class BaselineConfig(AdapterConfig):
    """Settings of ``train_baseline``.

    Args:
        method: ``ft`` learns reference solutions, ``cot-kd`` right samples, ``mix`` all samples;
            ``cl`` (contrastive loss), ``nt`` (negative training) and ``ul`` (unlikelihood) learn
            right samples and are penalised on wrong ones.
        penalty_weight: weight of the penalty of ``cl``, ``nt`` and ``ul``.
        unlikelihood_level: probabilities that ``ul`` lowers: of each token, or of each sequence.
        temperature: temperature of the contrastive loss.
        negatives_per_positive: wrong samples in a batch per right sample, for ``cl``, ``nt`` and
            ``ul``.
        lora_alpha: scale of the matrices times their rank (default: twice the rank).
        target_modules: names of the layers that get LoRA matrices, such as ``q_proj``; empty for
            all linear layers but the output layer.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import BaselineConfig
        >>> BaselineConfig(method="ul").penalty_weight
        0.05
    """

    method: BaselineMethod
    penalty_weight: float = 0.05
    unlikelihood_level: UnlikelihoodLevel = "token"
    temperature: float = 0.1
    negatives_per_positive: int = 1
    lora_alpha: int | None = None
    target_modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature", "negatives_per_positive", "lora_alpha")
        if self.penalty_weight < 0:
            raise ValueError(f"got penalty_weight={self.penalty_weight}; it must be at least 0")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings of ``sample_solutions`` and ``augment``.

    Args:
        n: samples per problem.
        max_new_tokens: maximum length of a sample; longer ones are cut off and left out.
        temperature: sampling temperature, over the whole vocabulary.
        separator: text that ends a step.
        chat: format prompts as user turns of the tokenizer's chat template.
        batch_rows: samples per call of ``generate``, at least those of one problem.
        seed: seed of the sampling; each batch has its own.

    Raises:
        ValueError: a number is not positive.

    Examples:
        >>> from reason_decode.training import SamplingConfig
        >>> SamplingConfig(n=8).batch_rows
        128
    """

    n: int = 4
    max_new_tokens: int = 256
    temperature: float = 1.0
    separator: str = "\n"
    chat: bool = False
    batch_rows: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, "n", "max_new_tokens", "temperature", "batch_rows")
