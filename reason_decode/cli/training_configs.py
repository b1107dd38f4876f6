"""Configs of ``reason-decode label`` and ``train``: their files beside the library's configs."""

from dataclasses import dataclass, field
from typing import Literal

from reason_decode.core.options import check_at_least_one, check_choice
from reason_decode.runs.options import RunOptions
from reason_decode.training.active_config import ActiveLearningConfig
from reason_decode.training.adapter_config import (
    BaselineConfig,
    NATConfig,
    NCEConfig,
    NegativeConfig,
)
from reason_decode.training.config import (
    NGramRankerConfig,
    ORMConfig,
    PRMConfig,
    RankerConfig,
    RationalystConfig,
)
from reason_decode.training.label_config import LabelConfig

__all__ = [
    "DataOptions",
    "LabelCommandConfig",
    "TrainActiveConfig",
    "TrainBaselineConfig",
    "TrainFiles",
    "TrainNATConfig",
    "TrainNCEConfig",
    "TrainNGramRankerConfig",
    "TrainNegativeConfig",
    "TrainORMConfig",
    "TrainPRMConfig",
    "TrainRankerConfig",
    "TrainRationalystConfig",
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Format of files of solutions.

    Args:
        format: ``auto``, detected at the first row of each file, or prm800k, stepwise,
            math-shepherd, processbench, bigbench-mistake, plain, samples or math-samples.
        prompt_suffix: end of every prompt, added where it is missing (default: the separator where
            prompt and steps are one text, else nothing).
    """

    format: str = "auto"
    prompt_suffix: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelCommandConfig:
    """Label the steps of solutions without people; the same command resumes a stopped run.

    Args:
        input: solutions, JSON Lines, compressed (.gz) or not.
        output: labelled solutions, JSON Lines in the stepwise format. Rows that the file has
            already are kept.
        data: how the file is read.
        labelling: how steps are labelled.
        run: how the solutions are divided among processes.
    """

    input: str
    output: str
    labelling: LabelConfig
    data: DataOptions = field(default_factory=DataOptions)
    run: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, kw_only=True)
class TrainFiles:
    """Files of a training.

    Args:
        input: training data, JSON Lines, compressed (.gz) or not.
        output: folder of the trained model.
        hold_out: share of the prompts, or documents, that are not learned and whose loss is
            measured.
        report: write counts and losses as JSON to this file; ``-`` for standard output.
    """

    input: tuple[str, ...]
    output: str
    hold_out: float = 0.05
    report: str | None = None

    def __post_init__(self) -> None:
        if not self.input:
            raise ValueError("got no input; name a file of training data")
        if not 0 <= self.hold_out < 1:
            raise ValueError(f"got hold_out={self.hold_out}; need a share from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class TrainModelFiles(TrainFiles):
    """Files of a training that starts from a model.

    Args:
        model: model to start from: ``tiny``, a folder or a Hub id.
    """

    model: str = "tiny"


@dataclass(frozen=True, kw_only=True)
class StepLabels:
    """Labels of steps that are learned.

    Args:
        neutral: label of neutral steps, such as PRM800K's rating 0; three labels keep them apart.
        all_steps: learn the labels after the first wrong step, too.
    """

    neutral: Literal["positive", "negative"] = "positive"
    all_steps: bool = False

    def __post_init__(self) -> None:
        check_choice(self, "neutral", ("positive", "negative"))


@dataclass(frozen=True, kw_only=True)
class TrainPRMConfig(TrainModelFiles):
    """Train a process reward model: is each step right?

    Args:
        data: how the files are read.
        steps: labels that are learned.
        training: settings of the training.
    """

    data: DataOptions = field(default_factory=DataOptions)
    steps: StepLabels = field(default_factory=StepLabels)
    training: PRMConfig = field(default_factory=PRMConfig)


@dataclass(frozen=True, kw_only=True)
class TrainActiveConfig(TrainPRMConfig):
    """Train process reward models in rounds, each on the solutions that convinced the last one.

    Args:
        active: the rounds.
    """

    active: ActiveLearningConfig = field(default_factory=ActiveLearningConfig)


@dataclass(frozen=True, kw_only=True)
class TrainORMConfig(TrainModelFiles):
    """Train an outcome reward model: is the answer right?

    Args:
        data: how the files are read.
        training: settings of the training.
    """

    data: DataOptions = field(default_factory=DataOptions)
    training: ORMConfig = field(default_factory=ORMConfig)


@dataclass(frozen=True, kw_only=True)
class TrainRationalystConfig(TrainModelFiles):
    """Train a rationale model from mined rationales.

    Args:
        training: settings of the training.
    """

    training: RationalystConfig = field(default_factory=RationalystConfig)


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
