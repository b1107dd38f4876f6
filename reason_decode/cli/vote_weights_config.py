"""Config of ``reason-decode train vote-weights``."""

from dataclasses import dataclass

from reason_decode.cli.configs import RerankConfig

__all__ = ["TrainVoteWeightsConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainVoteWeightsConfig(RerankConfig):
    """Learn how much the votes of a scorer weigh, from graded samples; print the formula.

    Args:
        output: write formula and report as JSON to this file; ``-`` for standard output.
        folds: folds of the report, which votes on each problem with the weights of the others.
        problems: the task, which grades the samples.
    """

    folds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds < 2:
            raise ValueError(f"got folds={self.folds}; need at least 2")
