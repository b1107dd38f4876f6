"""The command ``reason-decode``: one file a subcommand."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from reason_decode.cli import demo, generate, label, mine, rerank, trace, train, verify
from reason_decode.cli import eval as evaluate

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments; the process's own if ``None``.

    Returns:
        The exit status: 0; 1 where some items could not be done (said on stdout); 2 where the input
        cannot be used or the output not be written (said on stderr); 130 where the user interrupted
        it. What was written before stays.
    """
    parser = argparse.ArgumentParser(
        prog="reason-decode",
        description="Decode with guidance: reward models and votes inside model.generate.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (demo, generate, rerank, evaluate, verify, label, mine, train, trace):
        command.add(commands)
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    try:
        status = args.run(args)
        # Here, where a closed pipe is caught, rather than at exit.
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"reason-decode {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        # A run that keeps what it has done says how much that is.
        kept = f": {stop}; go on with\n{shlex.join(['reason-decode', *args.argv])}"
        told = kept if stop.args else ""
        print(f"reason-decode {args.command}: interrupted{told}", file=sys.stderr)
        return 130
