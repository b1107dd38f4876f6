"""Files that are damaged, endless, devices or of another kind, and commands that get them.

Tested elsewhere: malformed and blank lines, an output of another input, a run
cut off (test_cli_generate.py), a missing file (test_cli_options.py), a gzip file that ends early
(test_files.py), rubbish of a million rows (test_data.py), wrong columns and rows (test_tasks.py).
"""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reason_decode.cli import main
from reason_decode.io import jsonl as rows
from reason_decode.io.jsonl import check_writable, stream_rows, write_json
from reason_decode.io.read_report import Reject
from reason_decode.serving import from_options
from reason_decode.tasks import TASKS
from tests.fakes import ByteTokenizer, Guided, ScriptedModel

GOOD = b'{"prompt": "a"}\n'
LINES: dict[str, tuple[str, bytes, list[str], str | None]] = {
    # name of the file, content, prompts that are read, reason for the line that is not
    "a byte order mark": ("x.jsonl", b"\xef\xbb\xbf" + GOOD, ["a"], None),
    "ends of Windows": ("x.jsonl", GOOD.replace(b"\n", b"\r\n") * 2, ["a", "a"], None),
    "no end at all": ("x.jsonl", GOOD.strip(), ["a"], None),
    "a key twice": ("x.jsonl", b'{"prompt": "z", "prompt": "a"}\n', ["a"], None),
    "NaN beside it": ("x.jsonl", b'{"prompt": "a", "x": [NaN, Infinity]}\n', ["a"], None),
    "a list in JSON": ("x.json", b'[{"prompt": "a"}, {"prompt": 1}]', ["a"], "got the prompt 1"),
    "no UTF-8": ("x.jsonl", b'{"prompt": "\xff\xfe"}\n' + GOOD, ["a"], "'utf-8' codec can't"),
    "half a character": ("x.jsonl", b'{"prompt": "\\ud800"}\n' + GOOD, ["a"], "half a character"),
    "deep nesting": ("x.jsonl", b"[" * 200_000 + b"\n" + GOOD, ["a"], "no JSON: .*recursion"),
    "a number of 6,000 digits": (
        "x.jsonl",
        b'{"prompt": "z", "x": ' + b"9" * 6000 + b"}\n" + GOOD,
        ["a"],
        "no JSON: .*digits",
    ),
    "a line of 10 MB": (
        "x.jsonl",
        b'{"x": "' + b"y" * 10**7 + b'"}\n' + GOOD,
        ["a"],
        "got the prompt None; need a text",
    ),
    "a prompt of nothing": ("x.jsonl", b'{"prompt": ""}\n' + GOOD, ["a"], "got the prompt ''"),
    "a prompt that is a list": ("x.jsonl", b'{"prompt": ["a"]}\n' + GOOD, ["a"], "need a text"),
    "a gzip file cut off": (
        "x.jsonl.gz",
        gzip.compress(b"".join(b'{"prompt": "%d"}\n' % k for k in range(5000)))[:-9],
        [str(k) for k in range(5000)],
        "the gzip file is broken from here on",
    ),
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    scripted = ScriptedModel(str.upper)
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: (scripted, ByteTokenizer()))
    monkeypatch.setattr(
        from_options, "strategy_from_options", lambda *_: Guided(lambda prompt: [prompt.upper()])
    )
    return scripted


@pytest.mark.parametrize("case", LINES)
def test_readable_lines_are_read_and_others_set_aside(
    tmp_path: Path, model: ScriptedModel, case: str
):
    name, data, prompts, reason = LINES[case]
    source, out = tmp_path / name, tmp_path / "out.jsonl"
    source.write_bytes(data)
    argv = ["generate", "--input", str(source), "--output", str(out), "--batch-size", "5000"]
    assert main(argv) == 0
    made = [json.loads(line) for line in out.read_text().splitlines()]
    read = [row["prompt"] for row in made]
    # The last block of a gzip file that was cut off cannot be read.
    assert read == prompts[: len(read)] and (len(read) == len(prompts) or case.startswith("a gzip"))
    aside = Path(f"{out}.rejected.jsonl")
    assert aside.exists() == (reason is not None)
    if reason is not None:
        (row,) = map(json.loads, aside.read_text().splitlines())
        assert re.search(reason, row["reason"])


def written(name: str, data: bytes) -> Callable[[Path], str]:
    """A function that makes the file in a folder and returns its path."""

    def make(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return make


def folder(path: Path) -> str:
    return str(path)


ROW = b'{"prompt": "p", "completions": ["a"], "labels": [true]}\n'
GAME = b"Rank,Puzzles\n1,1 4 4 8\n"
MINE = ["mine", "--loss-model", "tiny"]
COMMANDS: dict[str, tuple[list[str], Callable[[Path], str], list[str], str]] = {
    # command, its input file, further options, part of the error message
    "a folder as prompts": (["generate", "--input"], folder, [], "Is a directory"),
    "no prompts": (["generate", "--input"], written("x", b""), [], "has no .*line .0 malformed"),
    "blank lines": (["generate", "--input"], written("x", b"\n\n"), [], "line 1: blank line"),
    "UTF-16": (["generate", "--input"], written("x", GOOD.decode().encode("utf-16")), [], "codec"),
    "bytes": (["generate", "--input"], written("x", bytes(range(256))), [], "no JSON"),
    "no gzip file": (["generate", "--input"], written("x.gz", GOOD), [], "Not a gzipped file"),
    "a folder as output": (
        ["generate", "--output", "/tmp", "--input"], written("x", GOOD), [], "name a file in it"
    ),
    "a device as output": (
        ["generate", "--output", "/dev/full", "--input"], written("x", GOOD), [], "device or a pipe"
    ),
    "no folder for the output": (
        ["generate", "--output", "/no/x", "--input"], written("x", GOOD), [], "mkdir -p /no"
    ),
    "a seed of 100 bits": (
        ["generate", "--input"], written("x", GOOD), ["--seed", str(2**100)], "at most 63 bits"
    ),
    "a vote that stops at 2": (
        ["generate", "--input"],
        written("x", GOOD),
        ["--strategy", "self-consistency", "--early-stop", "2"],
        "got early_stop=2.0; allowed",
    ),
    "a table of bytes": (["eval", "--task", "game24", "--input"], written("x", b"\xff" * 99), [],
        "has no column"),
    "a field of 200,000 digits": (
        ["eval", "--task", "game24", "--input"],
        written("x", b"Rank,Puzzles\n1," + b"9" * 200_000 + b"\n"),
        [],
        "no usable rows .*field larger than field limit",
    ),
    "no four numbers": (
        ["eval", "--task", "game24", "--input"], written("x", b"Rank,Puzzles\n1,\x00\n"), [],
        "need four whole numbers",
    ),
    "nested examples": (
        ["eval", "--task", "bbh-arithmetic", "--input"],
        written("x", b'{"examples": ' + b"[" * 200_000),
        [],
        "is no JSON: maximum recursion",
    ),
    "examples of nothing": (
        ["eval", "--task", "bbh-arithmetic", "--input"],
        written("x", b'{"examples": [1, null, {"input": "1 + 1", "target": 2}]}'),
        [],
        "3 malformed; row 1: the example has no text",
    ),
    "a result in a device": (
        ["eval", "--task", "game24", "--output", "/dev/null", "--input"], written("x", GAME), [],
        "device or a pipe",
    ),
    "a threshold that is no number": (
        ["verify", "--threshold", "nan", "--input"], written("x", ROW), [], "got threshold=nan"
    ),
    "one fold": (["verify", "--folds", "1", "--input"], written("x", ROW), [], "got 1 folds"),
    "a share of 2": (
        ["verify", "--calibrate-share", "2", "--input"], written("x", ROW), [], "a share of 2.0"
    ),
    "half a character in a sample": (
        ["rerank", "--task", "game24", "--input"],
        written("x", b'{"puzzle": "1 4 4 8", "samples": ["\\ud800"]}\n'),
        [],
        "line 1: got sample 0 with half a character",
    ),
    "no samples": (
        ["rerank", "--task", "game24", "--input"],
        written("x", b'{"puzzle": "1 4 4 8", "samples": []}\n'),
        [],
        "no list of texts, or an empty one",
    ),
    "labels by no number": (
        ["label", "--scorer", "tiny", "--threshold", "nan", "--output", "OUT", "--input"],
        written("x", ROW), [], "got threshold=nan; need a finite number",
    ),
    "labels by two": (
        ["label", "--scorer", "tiny", "--model", "tiny", "--output", "OUT", "--input"],
        written("x", ROW), [], "got scorer=tiny and model=tiny; give one",
    ),
    "a rate that is no number": (
        ["train", "prm", "--learning-rate", "nan", "--output", "OUT", "--input"],
        written("x", ROW), [], "got learning_rate=nan; it must be positive",
    ),
    "a file as the folder of a model": (
        ["train", "prm", "--model", "no/such/model", "--output", "OUT", "--input"],
        written("x", ROW), [], "there is no folder no/such/model",
    ),
    "mined by no number": (
        [*MINE, "--writer", "tagged", "--min-loss-delta", "nan", "--output", "OUT", "--input"],
        written("x", b'{"text": "a"}\n'), [], "got min_loss_delta=nan.*need a finite number",
    ),
    "options that are a list": (
        [*MINE, "--writer", "tagged", "--executor-options", "[1]", "--output", "OUT", "--input"],
        written("x", b'{"text": "a"}\n'), [], "need an object",
    ),
    "a writer that is no function": (
        [*MINE, "--writer", "os:nothing", "--output", "OUT", "--input"],
        written("x", b'{"text": "a"}\n'), [], "the module os has no function 'nothing'",
    ),
    "a writer of no module": (
        [*MINE, "--writer", "nomodule:f", "--output", "OUT", "--input"],
        written("x", b'{"text": "a"}\n'), [], "No module named 'nomodule'",
    ),
    "a problem that is none": (["demo", "--problem"], lambda path: "9^9^9^9", [], "got the probl"),
    "a problem of nothing": (["demo", "--problem"], lambda path: "1 / 0", [], "write four whole"),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_report_unusable_files_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
):
    # Regression: half characters, deep nesting, long fields and devices were tracebacks or read
    # without end; NaN was accepted as a threshold, which nothing reached.
    argv, given, more, message = COMMANDS[case]
    argv = [str(tmp_path / "out") if word == "OUT" else word for word in argv]
    argv = [*argv, given(tmp_path), *more]
    if argv[0] == "generate" and "--output" not in argv:
        argv += ["--output", str(tmp_path / "out.jsonl")]
    if argv[0] == "eval":
        argv += ["--strategy", "greedy"]
    assert main(argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "reason-decode" in line]
    assert len(lines) == 1 and re.match(rf"reason-decode {argv[0]}( \w+)?: ", lines[0])
    assert re.search(message, lines[0]), lines[0]


def test_a_byte_order_mark_hides_no_column(tmp_path: Path):
    # Regression: in a table that a spreadsheet had saved, the column Rank was named \ufeffRank.
    path = tmp_path / "24.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GAME)
    items, rejected = TASKS["game24"].load(path, None)
    assert [item.id for item in items] == [1] and not rejected
    path = tmp_path / "bbh.json"
    path.write_bytes(b'\xef\xbb\xbf{"examples": [{"input": "1 + 1 =", "target": "2"}]}')
    assert len(TASKS["bbh-arithmetic"].load(path, None)[0]) == 1


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Regression: /dev/zero, or a gzip bomb of a single line, was read until memory ran out.
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD + b"0" * 10**6 + b"\n" + GOOD))
    found = list(stream_rows(path))
    reason = "a line of more than 1000 bytes"
    assert found == [(1, {"prompt": "a"}), Reject(2, reason), (3, {"prompt": "a"})]
    assert list(stream_rows("/dev/zero")) == [Reject(1, "a line of more than 1000 bytes")]


def test_results_never_replace_a_device(tmp_path: Path):
    # Regression: as root, --output /dev/null replaced the device by a file.
    with pytest.raises(ValueError, match="got /dev/null as an output file, which is a device"):
        check_writable("/dev/null")
    (tmp_path / "there.json").write_text("{}")
    check_writable(tmp_path / "there.json")
    write_json(tmp_path / "there.json", [1])
    assert json.loads((tmp_path / "there.json").read_text()) == [1]


@pytest.mark.parametrize("name", ["x.json", "./x.json"])
@pytest.mark.parametrize("argv", [["eval", "--trace"], ["train", "prm", "--report"]])
def test_one_file_is_not_two_outputs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    name: str,
):
    """``eval --output x --trace x`` ended with status 0, and the traces were lost."""
    monkeypatch.chdir(tmp_path)
    Path("24.csv").write_bytes(GAME)
    task = ["--task", "game24", "--strategy", "best-of-n"] if argv[0] == "eval" else []
    files = ["--input", "24.csv", "--output", "x.json", argv[-1], name]
    assert main([*argv[:-1], *task, *files]) == 2
    assert "x.json for two outputs" in capsys.readouterr().err
    assert [x.name for x in tmp_path.iterdir()] == ["24.csv"]
