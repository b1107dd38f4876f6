"""Options of the commands that resume: shards, workers, executors, starting over."""

import json
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Collection
from typing import Any, get_args

from reason_decode.runs.options import SINGLE_SHARD, Executor, RunOptions, Shard
from reason_decode.runs.settings import run_settings

__all__ = [
    "RESUME_EPILOG",
    "add_run_options",
    "command_of",
    "make_run_options",
    "settings_of",
]

# Options that do not change the results of any command.
IGNORED_IN_SETTINGS = {
    *("command", "run", "argv", "json", "input", "output", "out", "data"),
    *("shard", "workers", "restart", "executor", "executor_options"),
    *("endpoint", "key", "concurrency", "attempts"),
}
# Options that name models; the files of a local folder are compared as well.
MODELS = ("model", "prm", "rationalyst", "judge")
RESUME_EPILOG = "A run that was interrupted or killed resumes when the same command is given again."


def add_run_options(parser: ArgumentParser, output: str) -> None:
    """Add the options; ``output`` is the option that names the output."""
    parser.add_argument(
        "--shard",
        type=_shard,
        default=SINGLE_SHARD,
        metavar="I/N",
        help="run only every N-th batch, from the I-th (1/N to N/N), as in a Slurm array job: "
        '--shard "$SLURM_ARRAY_TASK_ID/16"; the results are kept beside the output, and the same '
        f"command without --shard joins them in {output}",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, one per GPU if there are any, or tasks of --executor "
        "(default: 1)",
    )
    parser.add_argument(
        "--executor",
        choices=get_args(Executor),
        help="datatrove's executor that runs the workers; after Slurm's jobs have ended, the same "
        "command without --executor and --workers joins their results",
    )
    parser.add_argument(
        "--executor-options",
        type=json.loads,
        default={},
        metavar="JSON",
        help='such as \'{"partition": "gpu", "time": "20:00:00"}\'',
    )
    parser.add_argument(
        "--restart",
        action=BooleanOptionalAction,
        default=False,
        help="delete the results that an earlier run of the same output left",
    )


def make_run_options(args: Namespace) -> RunOptions:
    """The options as a config.

    Raises:
        ValueError: an option is out of range, or two of them exclude each other.
    """
    return RunOptions(
        shard=args.shard,
        workers=args.workers,
        executor=args.executor,
        executor_options=args.executor_options,
        restart=args.restart,
    )


def command_of(args: Namespace) -> list[str]:
    """Arguments of ``python`` that run the same command in another process."""
    return ["-m", "reason_decode", *args.argv]


def settings_of(args: Namespace, items: Any, ignored: Collection[str] = ()) -> dict[str, Any]:
    """Settings that the results of a command depend on; see ``run_settings``.

    Args:
        args: options of the command.
        items: the items of the run.
        ignored: further options that do not change its results.
    """
    without = {*IGNORED_IN_SETTINGS, *ignored}
    options = {name: x for name, x in vars(args).items() if name not in without}
    if hasattr(args, "endpoint"):
        options["served"] = args.endpoint is not None  # its address does not matter
    return run_settings(options, models=[name for name in MODELS if name in options], items=items)


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
