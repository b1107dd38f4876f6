"""Configs of ``reason-decode train`` on samples that are graded: rankers and adapters."""

from dataclasses import dataclass, field

from reason_decode.cli.training_configs import DataOptions, TrainFiles, TrainModelFiles
from reason_decode.core.options import check_at_least_one
from reason_decode.training.adapter_config import (
    BaselineConfig,
    NATConfig,
    NCEConfig,
    NegativeConfig,
)
from reason_decode.training.ranker_config import NGramRankerConfig, RankerConfig

__all__ = [
    "Augmentation",
    "Grading",
    "SampleFiles",
    "TrainBaselineConfig",
    "TrainNATConfig",
    "TrainNCEConfig",
    "TrainNGramRankerConfig",
    "TrainNegativeConfig",
    "TrainRankerConfig",
]


@dataclass(frozen=True, kw_only=True)
class Grading:
    """Sorting of samples into right and wrong ones.

    Args:
        unanswered_wrong: count samples that state no answer as wrong; else they are left out.
    """

    unanswered_wrong: bool = False


@dataclass(frozen=True, kw_only=True)
class SampleFiles(TrainModelFiles):
    """Files of a training on samples that are graded.

    Args:
        data: how the files are read.
        grading: how samples are sorted into right and wrong ones.
    """

    data: DataOptions = field(default_factory=DataOptions)
    grading: Grading = field(default_factory=Grading)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """New samples that are added to the right ones.

    Args:
        augment: adapter of the model that samples solutions of all problems; right ones are
            learned, too.
        augment_samples: samples per problem.
        augment_tokens: maximum length of a sample in tokens.
    """

    augment: str | None = None
    augment_samples: int = 4
    augment_tokens: int = 512

    def __post_init__(self) -> None:
        check_at_least_one(self, "augment_samples", "augment_tokens")


@dataclass(frozen=True, kw_only=True)
class TrainNegativeConfig(SampleFiles):
    """Train a LoRA adapter on wrong samples.

    Args:
        training: settings of the training.
    """

    training: NegativeConfig = field(default_factory=NegativeConfig)


@dataclass(frozen=True, kw_only=True)
class TrainNATConfig(SampleFiles):
    """Train a positive LoRA adapter, and a gate that mixes it with a negative one.

    Args:
        training: settings of the training.
    """

    training: NATConfig


@dataclass(frozen=True, kw_only=True)
class TrainNCEConfig(SampleFiles):
    """Distil a NAT adapter into a plain LoRA adapter.

    Args:
        augmentation: samples that are added.
        training: settings of the training.
    """

    training: NCEConfig
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True, kw_only=True)
class TrainBaselineConfig(SampleFiles):
    """Train a plain LoRA adapter by a method that NAT and NCE are compared with.

    Args:
        augmentation: samples that are added.
        training: settings of the training.
    """

    training: BaselineConfig
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True, kw_only=True)
class TrainRankerConfig(SampleFiles):
    """Train a ranker of whole solutions, which weighs votes.

    Args:
        training: settings of the training.
    """

    training: RankerConfig = field(default_factory=RankerConfig)


@dataclass(frozen=True, kw_only=True)
class TrainNGramRankerConfig(TrainFiles):
    """Train a linear ranker of whole solutions, which needs no model.

    Args:
        data: how the files are read.
        grading: how samples are sorted into right and wrong ones.
        training: settings of the training.
    """

    data: DataOptions = field(default_factory=DataOptions)
    grading: Grading = field(default_factory=Grading)
    training: NGramRankerConfig = field(default_factory=NGramRankerConfig)
