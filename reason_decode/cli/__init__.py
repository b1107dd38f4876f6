"""The command ``reason-decode``: one module a subcommand, imported when it is chosen."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import reason_decode
from reason_decode.io.console import escape_unprintable, printable_lines

__all__ = ["main"]

PROG = "reason-decode"


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand.

    Args:
        summary: one line for the list of commands.
        config: class of its config, as ``module:class`` in this package; the module imports no
            torch.
        run: function of the config and the command line that returns the exit status, as
            ``module:function`` in this package.
    """

    summary: str
    config: str
    run: str


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "solve one problem with and without guidance", "configs:DemoConfig", "demo:run"
    ),
    "generate": Command("continue the prompts of a file", "configs:GenerateConfig", "generate:run"),
    "rerank": Command(
        "choose among given solutions by a scorer",
        "configs:RerankConfig",
        "rerank:run",
    ),
    "eval": Command("measure a strategy on a task", "configs:EvalConfig", "eval:run"),
    "verify": Command(
        "find the first wrong step of given solutions",
        "configs:VerifyConfig",
        "verify:run",
    ),
    "label": Command(
        "label the steps of solutions without people",
        "label_configs:LabelCommandConfig",
        "label:run",
    ),
    "mine": Command("mine rationales from text", "mining_configs:MineConfig", "mine:run"),
    "trace": Command("show the candidates and scores of a run", "configs:TraceConfig", "trace:run"),
    "serve": Command(
        "answer requests of OpenAI's API by a strategy", "serve_configs:ServeConfig", "serve:run"
    ),
    "train prm": Command(
        "train a process reward model",
        "training_configs:TrainPRMConfig",
        "train:run_prm",
    ),
    "train orm": Command(
        "train an outcome reward model",
        "training_configs:TrainORMConfig",
        "train:run_orm",
    ),
    "train active": Command(
        "train process reward models in rounds of active learning",
        "active_configs:TrainActiveConfig",
        "train_active:run_active",
    ),
    "train rationalyst": Command(
        "train a rationale model",
        "training_configs:TrainRationalystConfig",
        "train_rationalyst:run_rationalyst",
    ),
    "train ranker": Command(
        "train a ranker of whole solutions",
        "sample_configs:TrainRankerConfig",
        "train_samples:run_ranker",
    ),
    "train ngram-ranker": Command(
        "train a linear ranker, which needs no model",
        "sample_configs:TrainNGramRankerConfig",
        "train_samples:run_ngram_ranker",
    ),
    "train calibration": Command(
        "learn how probably an answer is right, to abstain by",
        "calibration_configs:TrainCalibrationConfig",
        "train_calibration:run",
    ),
    "train vote-weights": Command(
        "learn how much votes of each score weigh",
        "vote_weights_config:TrainVoteWeightsConfig",
        "train_vote_weights:run",
    ),
    "train negative": Command(
        "train a LoRA adapter on wrong samples",
        "sample_configs:TrainNegativeConfig",
        "train_samples:run_negative",
    ),
    "train nat": Command(
        "train a positive LoRA adapter and its gate with a negative one",
        "sample_configs:TrainNATConfig",
        "train_samples:run_nat",
    ),
    "train nce": Command(
        "distil a NAT adapter into a plain LoRA adapter",
        "sample_configs:TrainNCEConfig",
        "train_samples:run_nce",
    ),
    "train baseline": Command(
        "train a LoRA adapter by a method that NAT is compared with",
        "sample_configs:TrainBaselineConfig",
        "train_samples:run_baseline",
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
    if sys.stdout is None or sys.stderr is None:
        # A closed terminal: the parser's messages need something to be written to.
        with open(os.devnull, "w") as nowhere:
            with redirect_stdout(sys.stdout or nowhere), redirect_stderr(sys.stderr or nowhere):
                return main(argv)
    escape_unprintable(sys.stdout, sys.stderr)
    if "--version" in argv[:1]:
        print(f"{PROG} {reason_decode.__version__}")
        return 0
    words = 2 if argv[:1] == ["train"] else 1
    name = " ".join(argv[:words])
    if name in COMMANDS:
        return _run(f"{PROG} {name}", COMMANDS[name], argv[words:], argv)
    if {"-h", "--help"} & set(argv[:words]):
        print(_usage(argv[: words - 1]))
        return 0
    got = f"the command {name!r}" if name else "no command"
    known = ", ".join(x for x in COMMANDS if x.startswith(" ".join(argv[: words - 1])))
    print(f"{PROG}: got {got}; name one of {known}; see {PROG} --help", file=sys.stderr)
    return 2


def _run(prog: str, command: Command, options: Sequence[str], argv: Sequence[str]) -> int:
    """The exit status of a subcommand."""
    # Imported here: the parser takes a quarter of a second, which `--help` of all has no use for.
    from reason_decode.cli.parsing import parse_config

    try:
        config = parse_config(_load(command.config), prog, options)
        status = _load(command.run)(config, argv)
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
        # A message may hold a file's name or a server's words, with escapes for the terminal.
        print(printable_lines(f"{prog}: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        # A run that keeps its results says how many they are.
        resume = f": {stop}; resume with\n{shlex.join([PROG, *argv])}" if stop.args else ""
        print(f"{prog}: interrupted{resume}", file=sys.stderr)
        return 130


def _load(name: str) -> Any:
    """The object of this package that ``module:object`` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def _usage(group: Sequence[str]) -> str:
    """The list of commands, or of those of a group: ``["train"]``."""
    shown = {name: x for name, x in COMMANDS.items() if name.split()[: len(group)] == [*group]}
    width = max(map(len, shown))
    return "\n".join(
        [
            f"usage: {' '.join([PROG, *group])} COMMAND [OPTIONS]",
            "",
            "Decode with guidance: reward models and votes inside model.generate.",
            "",
            *(f"  {name:<{width}}  {command.summary}" for name, command in shown.items()),
            "",
            f"{PROG} COMMAND --help shows the options of a command, {PROG} --version the version.",
        ]
    )
