"""Config of ``reason-decode label``."""

from dataclasses import dataclass, field

from reason_decode.cli.training_configs import FormatOptions
from reason_decode.core.options import EngineOptions
from reason_decode.runs.options import RunOptions
from reason_decode.tasks.options import TaskOptions
from reason_decode.training.label_config import LabelConfig

__all__ = [
    "LabelCommandConfig",
]


@dataclass(frozen=True, kw_only=True)
class LabelCommandConfig:
    """Label the steps of solutions without people; the same command resumes a stopped run.

    Args:
        input: solutions: a file (JSON Lines, JSON or CSV, compressed (.gz) or not, or Parquet) or a
            dataset of the Hub.
        output: labelled solutions, JSON Lines in the stepwise format. Rows that the file has
            already are kept.
        data: how the file is read.
        labelling: how steps are labelled.
        problems: the task that grades rollouts (default: they are compared with the answer).
        engine: what samples rollouts.
        run: how the solutions are divided among processes.
    """

    input: str
    output: str
    labelling: LabelConfig
    data: FormatOptions = field(default_factory=FormatOptions)
    problems: TaskOptions = field(default_factory=TaskOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        for name in ("few_shot", "prompt_template"):
            if value := getattr(self.problems, name):
                raise ValueError(f"got {name}={value!r:.60}; solutions have their prompts: drop it")
        if self.engine != EngineOptions() and self.labelling.model is None:
            raise ValueError(
                f"got engine={self.engine.engine} without model; an engine samples rollouts "
                "(--model), and a scorer runs here"
            )
        if self.problems != TaskOptions() and self.labelling.model is None:
            raise ValueError(
                f"got task={self.problems.task} without model; a task grades rollouts (--model), "
                "and a scorer needs none"
            )
