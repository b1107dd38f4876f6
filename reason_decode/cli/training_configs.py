"""Configs of ``reason-decode label`` and ``train``: their files beside the library's configs."""

from dataclasses import dataclass, field

from reason_decode.runs.options import RunOptions
from reason_decode.training.label_config import LabelConfig

__all__ = ["LabelCommandConfig"]


@dataclass(frozen=True, kw_only=True)
class LabelCommandConfig:
    """Label the steps of solutions without people; the same command resumes a stopped run.

    Args:
        input: solutions, JSON Lines, compressed (.gz) or not.
        output: labelled solutions, JSON Lines in the stepwise format. Rows that the file has
            already are kept.
        format: layout of the rows (default: told from the first row).
        prompt_suffix: end of every prompt, added where it is missing (default: the separator).
        labelling: how steps are labelled.
        run: how the solutions are divided among processes.
    """

    input: str
    output: str
    labelling: LabelConfig
    format: str = "auto"
    prompt_suffix: str | None = None
    run: RunOptions = field(default_factory=RunOptions)
