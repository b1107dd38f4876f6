"""What stands between a prompt and the first step, the same in every command that reads data."""

from argparse import ArgumentParser

__all__ = ["add_suffix", "suffix_for", "with_suffix"]


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
