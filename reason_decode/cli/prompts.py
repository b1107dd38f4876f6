"""Solutions of a command's files, with prompts that end as their steps need it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reason_decode.cli.training_configs import DataOptions
from reason_decode.core.splitting import prompt_suffix_for
from reason_decode.io.read_report import ReadReport
from reason_decode.training import LabelledSolution, SolutionColumns, read_labelled

__all__ = ["read_all", "suffix_for", "with_suffix"]


def suffix_for(one_text: bool, separator: str, given: str | None) -> str:
    """The suffix that was given, else a separator of white space where all is one text.

    Args:
        one_text: whether prompt and steps are one text, not the turns of a conversation.
        separator: text that ends a step.
        given: the suffix that the user asks for, if any.
    """
    if given is not None:
        return given
    return prompt_suffix_for(separator) if one_text else ""


def with_suffix(prompt: str, suffix: str) -> str:
    """The prompt, ending with the suffix."""
    return prompt if prompt.endswith(suffix) else prompt + suffix


def read_all(
    paths: Sequence[str], data: DataOptions, separator: str, *, one_text: bool, **options: Any
) -> list[LabelledSolution]:
    """The solutions of all files; the counts of each file's rows are printed.

    Args:
        paths: files of solutions.
        data: format and columns of their rows, and the end of their prompts.
        separator: text that ends a step.
        one_text: whether prompt and steps are one text, not the turns of a conversation.
        options: further arguments of ``read_labelled``.
    """
    found: list[LabelledSolution] = []
    suffix = suffix_for(one_text, separator, data.prompt_suffix)
    columns = SolutionColumns(
        question=data.question_column,
        solution=data.solution_column,
        answer=data.answer_column,
        labels=data.labels_column,
        subset=data.subset,
        split=data.split,
    )
    for path in paths:
        report = ReadReport()
        rows = read_labelled(
            path,
            data.format,
            separator=separator,
            columns=columns,
            label_threshold=data.label_threshold,
            report=report,
            **options,
        )
        found += [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in rows]
        print(f"{path}: {report}")
    return found
