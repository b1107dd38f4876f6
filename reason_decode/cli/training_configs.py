"""Configs of ``reason-decode train``: files, and training of reward and rationale models."""

from dataclasses import dataclass, field
from typing import Literal

from reason_decode.core.options import check_choice
from reason_decode.training.config import ORMConfig, PRMConfig, RationalystConfig

__all__ = [
    "DataOptions",
    "FormatOptions",
    "StepLabels",
    "TrainFiles",
    "TrainModelFiles",
    "TrainORMConfig",
    "TrainPRMConfig",
    "TrainRationalystConfig",
]


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """Format of files of solutions.

    Args:
        format: ``auto``, detected at the first row of each file, or prm800k, stepwise,
            math-shepherd, processbench, bigbench-mistake, plain, samples, math-samples or columns.
        prompt_suffix: end of every prompt, added where it is missing (default: the separator where
            prompt and steps are one text, else nothing).
    """

    format: str = "auto"
    prompt_suffix: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataOptions(FormatOptions):
    """Format and columns of files of solutions.

    Args:
        question_column: column of the problems (default: the first of question, problem, prompt,
            input, query and instruction that there is).
        solution_column: column of the solutions, each a text, a list of steps, or a list of samples
            (default: the first of solution, steps, completions, response, samples and the like;
            else the answer is the solution, as in GSM8K).
        answer_column: column of the reference answers (default: the first of answer, final_answer,
            expected_answer, ground_truth and target).
        labels_column: column of the verdicts, one for each step or one for the whole solution
            (default: the first of labels, label, step_labels and ratings).
        label_threshold: probability above which a step with a soft label is right.
        subset: subset of a Hub dataset, such as ``main`` of openai/gsm8k.
        split: split of a Hub dataset (default: train).
    """

    question_column: str | None = None
    solution_column: str | None = None
    answer_column: str | None = None
    labels_column: str | None = None
    label_threshold: float = 0.5
    subset: str | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainFiles:
    """Files of a training.

    Args:
        input: training data: files (JSON Lines, JSON or CSV, compressed (.gz) or not, or Parquet)
            or datasets of the Hub.
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
