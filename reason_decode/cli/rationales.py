"""The options of rationale guidance, and the scorer that they stand for."""

from argparse import ArgumentParser, Namespace
from typing import Any

from reason_decode.scorers.loading import load_rationalyst

__all__ = ["OPTIONS", "add_rationales", "make_rationalyst"]

OPTIONS = ("rationalyst", "judge", "discount", "subtract", "sum")
"""Their names, for what a result tells of how it came about."""


def add_rationales(parser: ArgumentParser) -> None:
    """Add the options; they mean nothing where no rationales are asked for."""
    parser.add_argument(
        "--rationalyst",
        default="tiny",
        help="model that writes rationales: tiny, a folder or a Hub id (default: tiny)",
    )
    parser.add_argument(
        "--judge",
        metavar="MODEL",
        help="model that finds steps likely given a rationale (default: the one that writes them)",
    )
    parser.add_argument(
        "--discount",
        type=float,
        default=1.0,
        help="weight of each token of a step against the one before it (default: 1)",
    )
    parser.add_argument(
        "--subtract",
        action="store_true",
        help="subtract the likelihood without the rationale",
    )
    parser.add_argument(
        "--sum",
        action="store_true",
        help="a step's log-probability as a whole (default: the mean of its tokens')",
    )


def make_rationalyst(args: Namespace) -> Any:
    """The scorer; a model that is named twice is loaded once."""
    how: dict[str, Any] = {"discount": args.discount, "subtract": args.subtract}
    return load_rationalyst(args.rationalyst, args.judge, **how, mean=not args.sum)
