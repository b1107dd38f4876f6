"""The options of rationale guidance, and the scorer that they stand for."""

from argparse import ArgumentParser, Namespace
from typing import Any

from reason_decode.cli.load import load_rationalyst

__all__ = ["add_rationales", "make_rationalyst"]


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


def make_rationalyst(args: Namespace) -> Any:
    """The scorer; a model that is named twice is loaded once."""
    return load_rationalyst(
        args.rationalyst, args.judge, discount=args.discount, subtract=args.subtract
    )
