"""What stands between a prompt and the first step, the same in every command that reads data."""

from argparse import ArgumentParser

__all__ = ["add_suffix", "suffix_for", "with_suffix"]


def add_suffix(parser: ArgumentParser) -> None:
    """The option ``--prompt-suffix``."""
    parser.add_argument(
        "--prompt-suffix",
        metavar="TEXT",
        help="what follows a prompt that does not end with it (default: the step separator for "
        "plain token classification, whose prompt and steps are one text; else nothing)",
    )


def suffix_for(format: str, separator: str, given: str | None) -> str:
    """The suffix that was given, else the one that a scorer's format wants.

    Args:
        format: its name, such as ``"token-classification"``.
        separator: what ends a step.
        given: by the user, if at all.
    """
    if given is not None:
        return given
    return separator if format == "token-classification" else ""


def with_suffix(prompt: str, suffix: str) -> str:
    """The prompt, ending with the suffix."""
    return prompt if prompt.endswith(suffix) else prompt + suffix
