"""The commands that documents show have options that exist and go together."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from reason_decode.cli import COMMANDS
from reason_decode.cli.parsing import parse_config

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *(ROOT / "README.md", ROOT / "benchmarks" / "README.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "reason_decode").rglob("*.py")),
    *sorted((ROOT / "reason_decode").rglob("README.md")),
]


def shown(text: str) -> list[str]:
    """Commands of code blocks, and of a line of text if they name their input."""
    blocks = re.findall(r"```(?:bash|sh)?\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    inline = re.findall(
        r"`(reason-decode [^`]*--input[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    found = [line for line in lines if line.strip().startswith("reason-decode ")] + inline
    return [" ".join(line.split()) for line in found]


ALL = [(path, command) for path in FILES for command in shown(path.read_text())]


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=[f"{path.stem}-{k}" for k, (path, _) in enumerate(ALL)]
)
def test_a_documented_command_can_be_parsed(path: Path, command: str, tmp_path: Path):
    words = shlex.split(command.partition("|")[0])[1:]
    name = " ".join(words[: 2 if words[0] == "train" else 1])
    options = words[len(name.split()) :]
    assert name in COMMANDS, path
    if "--config" in options:
        config = tmp_path / "config.yaml"
        block = re.search(r"```yaml\n(.*?)```", path.read_text(), flags=re.DOTALL)
        config.write_text(block[1] if block else "")
        options[options.index("--config") + 1] = str(config)
    module, _, attribute = COMMANDS[name].config.partition(":")
    parse_config(getattr(import_module(f"reason_decode.cli.{module}"), attribute), name, options)


def test_the_reader_of_documents_sees_every_form():
    block = "```\nreason-decode a \\\n    --b\n```\n"
    text = block + "reason-decode c, `reason-decode d` or\n`reason-decode e\n--input f`"
    assert shown(text) == ["reason-decode a --b", "reason-decode e --input f"]
