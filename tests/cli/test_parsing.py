import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from reason_decode.cli import COMMANDS, configs, main
from reason_decode.cli.configs import EvalConfig, TraceConfig
from reason_decode.cli.parsing import parse_config
from reason_decode.runs.options import Shard
from reason_decode.tasks import TASKS, TaskOptions
from reason_decode.training.data import COLUMNS, DATASET_FORMATS


@dataclass(frozen=True, kw_only=True)
class Inner:
    """The inner group.

    Args:
        size: how large it is.
        options: a JSON object.
    """

    size: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outer:
    """The command.

    Args:
        words: some
            words.
        kind: one of two.
        loud: whether it is loud.
        inner: the inner group.
    """

    words: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    loud: bool = True
    inner: Inner = field(default_factory=lambda: Inner(size=3))

    def __post_init__(self) -> None:
        if self.inner.size > 9:
            raise ValueError(f"got size={self.inner.size}; need at most 9")


EVAL = ("--input", "24.csv", "--task", "game24", "--strategy", "best-of-n")


def test_parses_nested_fields_as_options_without_prefix():
    assert parse_config(Outer, "x", []) == Outer()
    found = parse_config(Outer, "x", ["--words", "a", "b", "--size", "4", "--no-loud"])
    assert found == Outer(words=("a", "b"), loud=False, inner=Inner(size=4))
    config = parse_config(EvalConfig, "x", [*EVAL, "--n", "3", "--scorer", "my/prm"])
    assert (config.generation.n, config.generation.scoring.scorer) == (3, "my/prm")
    given = ["--shard", "2/4", "--extra-body", '{"top_k": 20}', "--engine", "http://x/v1"]
    config = parse_config(EvalConfig, "x", [*EVAL, *given])
    assert config.run.shard == Shard(2, 4) and config.engine.extra_body == {"top_k": 20}


def test_parses_negative_numbers():
    assert parse_config(EvalConfig, "x", [*EVAL, "--seed", "-3"]).generation.seed == -3


def test_names_of_tasks_and_formats_are_those_of_the_library():
    # The configs spell them out, because importing the library takes seconds.
    assert all(f"{name}," in (TaskOptions.__doc__ or "").replace(";", ",") for name in TASKS)
    assert {*get_args(configs.Format)} <= {"auto", COLUMNS, *DATASET_FORMATS}


def test_raises_the_checks_of_a_config_unchanged():
    # They would be printed by the parser in a box that wraps lines.
    with pytest.raises(ValueError, match=r"^got size=10; need at most 9$"):
        parse_config(Outer, "x", ["--size", "10"])


def test_help_shows_groups_texts_and_defaults(
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit, match="0"):
        parse_config(Outer, "prog", ["--help"])
    said = capsys.readouterr().out
    assert "usage: prog" in said and "The command." in said
    outer, inner = said.split("inner options")
    assert "--words" in outer and "some words." in outer and "--config" in outer
    assert "--size INT" in inner and "how large it is. (default: 3)" in inner


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nonsense", "1"], "--nonsense"),
        (["--size", "x"], "--size"),
        (["--kind", "c"], "'a', 'b'"),
        (["--word", "a"], "--word"),
    ],
)
def test_usage_errors_name_the_option(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        parse_config(Outer, "prog", argv)
    said = capsys.readouterr().err
    assert message in said and "prog --help" in said


def test_command_line_overrides_a_yaml_file(tmp_path: Path):
    path = tmp_path / "eval.yaml"
    path.write_text(
        "input: 24.csv\ntask: game24\nstrategy: step-search\nbeam-width: 2\nmargin: 0.5\nseed: -7\n"
        "rows: 901:1001\ntimeout: 7\nengine: transformers\nrestart: false\n"
        "executor_options:\n  partition: gpu\n"
    )
    given = ["--config", str(path), "--beam-width", "3", "--timeout", "9"]
    config = parse_config(EvalConfig, "x", given)
    assert (config.generation.beam_width, config.generation.margin) == (3, 0.5)
    assert (config.generation.seed, config.rows, config.engine.timeout) == (-7, "901:1001", 9)
    assert config.run.executor_options == {"partition": "gpu"} and not config.run.restart
    lists = tmp_path / "trace.yaml"
    lists.write_text("input:\n  - a\n  - b\n")
    assert parse_config(TraceConfig, "x", [f"--config={lists}"]).input == ("a", "b")
    lists.write_text("")
    assert parse_config(TraceConfig, "x", ["--config", str(lists), "--input", "c"]).input == ("c",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sice: 3\n", "has the key 'sice'; known keys are .*size.*words"),
        ("- 3\n", r"holds \[3\]; write a line `option: value` each"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_rejects_invalid_yaml_files(tmp_path: Path, content: str, message: str):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        parse_config(Outer, "x", ["--config", str(path)])
    with pytest.raises(OSError, match="no.yaml"):
        parse_config(Outer, "x", ["--config", str(tmp_path / "no.yaml")])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_each_command_has_a_help_text(name: str, capsys: pytest.CaptureFixture[str]):
    # A field without a line in its docstring is a KeyError.
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: reason-decode {name}") and "--config" in said


def test_lists_the_commands_and_prints_the_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("reason-decode ")
    assert main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    assert "train prm" in said and "  eval" not in said
    for name, command in COMMANDS.items():
        for reference in (command.config, command.run):
            module, _, attribute = reference.partition(":")
            assert hasattr(import_module(f"reason_decode.cli.{module}"), attribute), name


@pytest.mark.parametrize(
    "argv",
    [
        *([], ["fly"], ["train"], ["train", "fly"], ["train", "prm", "--nonsense"]),
        *(["eval", "--task", "chess"], ["demo", "--n", "x"], ["eval", "--nonsense"]),
    ],
)
def test_unknown_commands_options_and_values_exit_with_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == 2
    assert capsys.readouterr().err != ""


def test_reports_unusable_input_in_one_line(capsys: pytest.CaptureFixture[str]):
    assert main(["rerank", "--input", "no such file", "--task", "game24"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("reason-decode rerank: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        *("--help", "--version", "fly", "eval --help", "eval --nonsense", "eval --task game24"),
        *("mine --help", "label --help", "train", "train prm --nonsense", "train nce --help"),
    ],
)
def test_help_and_usage_errors_load_no_torch(argv: str):
    # Regression: a missing option was reported after 25 seconds of importing torch.
    code = (
        "import sys\n"
        "from reason_decode.cli import main\n"
        f"main({argv.split()!r})\n"
        "slow = {'torch', 'transformers', 'typeguard', 'numpy', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'loaded {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
