"""The command ``reason-decode``: one module a subcommand, imported when it is chosen."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import reason_decode

__all__ = ["main"]

PROG = "reason-decode"


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand.

    Args:
        summary: one line for the list of commands.
        config: class of its config, ``module:class``; the module imports no torch. Empty for
            commands that still parse their options themselves.
        module: module with ``run(config, argv)``, which returns the exit status.
    """

    summary: str
    config: str
    module: str


_CONFIGS = "reason_decode.cli.configs"
COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "solve one problem with and without guidance",
        f"{_CONFIGS}:DemoConfig",
        "reason_decode.cli.demo",
    ),
    "generate": Command(
        "continue the prompts of a file",
        f"{_CONFIGS}:GenerateConfig",
        "reason_decode.cli.generate",
    ),
    "rerank": Command(
        "choose among given solutions by a scorer",
        f"{_CONFIGS}:RerankConfig",
        "reason_decode.cli.rerank",
    ),
    "eval": Command(
        "measure a strategy on a task",
        f"{_CONFIGS}:EvalConfig",
        "reason_decode.cli.eval",
    ),
    "verify": Command(
        "find the first wrong step of given solutions",
        f"{_CONFIGS}:VerifyConfig",
        "reason_decode.cli.verify",
    ),
    "label": Command(
        "label the steps of solutions without people",
        "reason_decode.cli.training_configs:LabelCommandConfig",
        "reason_decode.cli.label",
    ),
    "mine": Command(
        "mine rationales from text",
        "reason_decode.cli.mining_configs:MineConfig",
        "reason_decode.cli.mine",
    ),
    "train": Command(
        "train a reward model, a rationale model or an adapter", "", "reason_decode.cli.train"
    ),
    "trace": Command(
        "show the candidates and scores of a run",
        f"{_CONFIGS}:TraceConfig",
        "reason_decode.cli.trace",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: the arguments; the process's own if ``None``.

    Returns:
        The exit status: 0; 1 if some items could not be done (printed on stdout); 2 if an option or
        the input cannot be used, or the output cannot be written (printed on stderr); 130 if the
        user interrupted it. The results so far are kept.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = next(iter(argv), "")
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"{PROG} {reason_decode.__version__}")
        return 0
    if name not in COMMANDS:
        got = f"the command {name!r}" if name else "no command"
        known = ", ".join(COMMANDS)
        print(f"{PROG}: got {got}; name one of {known}; see {PROG} --help", file=sys.stderr)
        return 2
    return _run(f"{PROG} {name}", COMMANDS[name], argv)


def _run(prog: str, command: Command, argv: list[str]) -> int:
    """The exit status of a subcommand."""
    try:
        status = _call(prog, command, argv)
        # Flushed here, where a closed pipe is caught, rather than at exit.
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return int(stop.code or 0)  # of the parser, which has printed its help or an error
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe; Python must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        # A run that keeps its results says how many they are.
        resume = f": {stop}; resume with\n{shlex.join([PROG, *argv])}" if stop.args else ""
        print(f"{prog}: interrupted{resume}", file=sys.stderr)
        return 130


def _call(prog: str, command: Command, argv: list[str]) -> int:
    if not command.config:
        return _call_argparse(command, argv)
    # The library that parses options takes a quarter of a second; `reason-decode --help` has none.
    from reason_decode.cli.parsing import parse_config

    module, _, name = command.config.partition(":")
    config: Any = getattr(import_module(module), name)
    parsed = parse_config(config, prog, argv[1:])
    return import_module(command.module).run(parsed, argv)


def _call_argparse(command: Command, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=PROG)
    import_module(command.module).add(parser.add_subparsers(dest="command", required=True))
    args = parser.parse_args(argv)
    args.argv = argv
    return args.run(args)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROG} COMMAND [OPTIONS]",
            "",
            "Decode with guidance: reward models and votes inside model.generate.",
            "",
            *lines,
            "",
            f"{PROG} COMMAND --help shows the options of a command, {PROG} --version the version.",
        ]
    )
