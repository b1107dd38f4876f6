"""What stands between a prompt and the first step, the same in every command that reads data."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import Any

from reason_decode.io.jsonl import ReadReport
from reason_decode.training import LabelledSolution, read_labelled

__all__ = ["add_suffix", "read_all", "suffix_for", "with_suffix"]


def add_suffix(parser: ArgumentParser) -> None:
    """The option ``--prompt-suffix``."""
    parser.add_argument(
        "--prompt-suffix",
        metavar="TEXT",
        help="what follows a prompt that does not end with it (default: the step separator where "
        "prompt and steps are one text, as for plain token classification; else nothing)",
    )


def suffix_for(one_text: bool, separator: str, given: str | None) -> str:
    """The suffix that was given, else the one that a scorer's layout wants.

    Args:
        one_text: whether prompt and steps are one text there, not the turns of a conversation.
        separator: what ends a step.
        given: by the user, if at all.
    """
    if given is not None:
        return given
    return separator if one_text else ""


def with_suffix(prompt: str, suffix: str) -> str:
    """The prompt, ending with the suffix."""
    return prompt if prompt.endswith(suffix) else prompt + suffix


def read_all(args: Namespace, one_text: bool, **settings: Any) -> list[LabelledSolution]:
    """All solutions of all files; what became of each file's rows is printed.

    Args:
        args: has ``input``, ``format``, ``separator`` and ``prompt_suffix``.
        one_text: see ``suffix_for``.
        settings: passed to ``read_labelled``.
    """
    found: list[LabelledSolution] = []
    suffix = suffix_for(one_text, args.separator, args.prompt_suffix)
    for path in args.input:
        report = ReadReport()
        rows = read_labelled(path, args.format, separator=args.separator, report=report, **settings)
        found += [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in rows]
        print(f"{path}: {report}")
    return found
