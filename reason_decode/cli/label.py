"""``reason-decode label``: labels without people, by rollouts or by a larger reward model."""

from argparse import ArgumentParser, Namespace
from dataclasses import fields, replace
from typing import Any

from reason_decode.cli.prompts import add_suffix, suffix_for, with_suffix
from reason_decode.cli.run_options import (
    RESUME_EPILOG,
    add_run_options,
    command_of,
    make_run_options,
)
from reason_decode.io.jsonl import ReadReport, check_writable
from reason_decode.runs.batches import print_failures
from reason_decode.training import LabelConfig, label_file, read_labelled

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "label",
        help="label the steps of solutions without people",
        description=__doc__,
        epilog=RESUME_EPILOG,
    )
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="solutions, JSON Lines, compressed or not"
    )
    parser.add_argument("--format", default="auto", help="as for train (default: auto)")
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="labelled solutions in the stepwise format; rows that are there already are kept",
    )
    parser.add_argument("--separator", default="\n", help="what ends a step (default: a newline)")
    add_suffix(parser)
    parser.add_argument(
        "--scorer",
        metavar="S",
        help="label by this process reward model: tiny, a folder or a Hub id",
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="label by rollouts of this model: tiny, a folder or a Hub id; the data need answers",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="by a scorer, the probability of being right from which on a step is right (default: "
        "0.5); by rollouts, the share of right ones that must be exceeded (default: 0)",
    )
    parser.add_argument(
        "--rollouts", type=int, default=8, metavar="K", help="rollouts a step (default: 8)"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, help="tokens of a rollout (default: 256)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of sampling rollouts (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the rollouts (default: 0)")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="solutions labelled at a time (default: 64)"
    )
    add_run_options(parser, "--output")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Read, label, write as it goes; print counts of the rows."""
    config = LabelConfig(**{x.name: getattr(args, x.name) for x in fields(LabelConfig)})
    options = make_run_options(args)
    check_writable(args.output, inputs=[args.input])
    report = ReadReport()
    rows = read_labelled(args.input, args.format, separator=args.separator, report=report)
    suffix = suffix_for(True, args.separator, args.prompt_suffix)
    solutions = [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in rows]
    result = label_file(solutions, args.output, config, options, command=command_of(args))
    if result.batches is not None:
        print_failures(result.batches, lambda index: f"solution {solutions[index].source}")
    if result.progress is not None:
        print(result.progress)
    else:
        print(f"{args.input}: {report}")
        if result.without_steps:
            print(f"left out: {result.without_steps} solutions without steps")
        print(f"{result.labelled} labelled in {args.output}, {result.before} of them before")
    return 1 if result.batches is not None and result.batches.failed else 0
