"""Laws of every command that resumes: generate, eval, verify, label."""

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode.cli import main, verify
from reason_decode.io.journal import Journal
from reason_decode.runs.settings import folder_fingerprint
from reason_decode.scorers.base import check_finite
from reason_decode.serving import from_options
from reason_decode.training import label_run
from tests.fakes import ByteTokenizer, Guided, ScriptedModel, TableScorer

COUNT = 10
COMMANDS = ("generate", "eval", "verify", "label")
# The commands whose output consists of the rows themselves.
IN_PLACE = ("generate", "label")


class Fault:
    """Called with every batch of prompts; a test sets what it does, such as raise an error."""

    def __init__(self):
        self.act: Callable[[list[str]], None] = lambda prompts: None
        self.batches: list[list[str]] = []

    def __call__(self, prompts: list[str]) -> None:
        self.batches.append(prompts)
        self.act(prompts)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault, tokenizer = Fault(), ByteTokenizer()

    class Model(ScriptedModel):
        def generate(self, **kwargs: Any) -> Any:
            fault(self.tokenizer.batch_decode(kwargs["input_ids"]))
            return super().generate(**kwargs)

    class Reader(TableScorer):
        prompt_suffix = "\n"

        def score(self, prompts: Any, solutions: Any) -> Any:
            fault(list(prompts))
            return super().score(prompts, solutions)

    def draws(prompt: str) -> list[str]:
        return ["no", f"{prompt} {torch.initial_seed()} {float(torch.rand(())):.6f}"]

    monkeypatch.setattr(from_options, "load_model", lambda name, *_: (Model(), tokenizer))
    monkeypatch.setattr(from_options, "strategy_from_options", lambda *_: Guided(draws))
    reader = Reader(lambda step: 0.1 if "wrong" in step else 0.9)
    monkeypatch.setattr(verify, "scorer_from_options", lambda *_, **__: reader)
    monkeypatch.setattr(label_run, "load_scorer", lambda name: reader)
    return fault


def argv(command: str, folder: Path, *more: str) -> list[str]:
    """Arguments of the command on items; item k has ``k`` in its prompt."""
    if command == "generate":
        rows = [{"prompt": f"item {k}."} for k in range(COUNT)]
        given = ["--input", str(folder / "in"), "--output", str(folder / "out")]
    elif command == "eval":
        rows = [{"input": f"{k} + 1 =", "target": "1"} for k in range(COUNT)]
        given = ["--input", str(folder / "in"), "--task", "bbh-arithmetic", "--strategy"]
        given += ["best-of-n", "--output", str(folder / "out")]
    else:
        rows = [
            {"input": f"{k} =", "steps": ["a", f"{k} wrong"], "target": "1", "mistake_index": k % 2}
            for k in range(COUNT)
        ]
        given = ["--input", str(folder / "in"), "--output", str(folder / "out")]
        given += ["--scorer", "tiny"] if command == "label" else ["--threshold", "0.5"]
    whole = json.dumps({"examples": rows})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "in").write_text(whole if command == "eval" else lines)
    return [command, *given, "--batch-size", "3", *more]


def result(command: str, folder: Path) -> Any:
    """Content of the output, without the seconds."""
    text = (folder / "out").read_text()
    if command in IN_PLACE:
        return text
    found = json.loads(text)
    found.pop("seconds", None)
    return {name: x for name, x in found.items() if name != "input"}


def item(prompts: list[str], k: int) -> bool:
    return any(f"item {k}." in x or x.startswith((f"{k} + 1 =", f"{k} =")) for x in prompts)


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return request.param


def expected(command: str, folder: Path) -> Any:
    whole = folder / "whole"
    whole.mkdir()
    assert main(argv(command, whole)) == 0
    return result(command, whole)


def test_an_interrupted_command_reports_progress_and_resumes(
    command: str, tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    whole = expected(command, tmp_path)
    fault.batches.clear()

    def interrupt(prompts: list[str]) -> None:
        if item(prompts, 6):
            raise KeyboardInterrupt

    fault.act = interrupt
    given = argv(command, tmp_path)
    assert main(given) == 130
    said = capsys.readouterr().err
    assert "interrupted: 6 of 10 are done and kept in " in said
    assert said.rstrip().endswith(" ".join(["reason-decode", *given]))
    fault.act = lambda prompts: None
    assert main(given) == 0
    assert result(command, tmp_path) == whole
    # The batch that was in flight ran again, and no other.
    assert [len(batch) for batch in fault.batches] == [3, 3, 3, 3, 1]


def test_shards_give_the_result_of_an_unsharded_run(
    command: str,
    tmp_path: Path,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    whole = expected(command, tmp_path)
    fault.batches.clear()
    for index in (2, 1, 3):
        assert main(argv(command, tmp_path, "--shard", f"{index}/3")) == 0
    assert "shard 3/3: 10 of 10 are done" in capsys.readouterr().out
    assert len(fault.batches) == 4
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: pytest.fail("loaded"))
    monkeypatch.setattr(label_run, "load_scorer", lambda name: pytest.fail("loaded"))
    assert main(argv(command, tmp_path)) == 0
    assert result(command, tmp_path) == whole and len(fault.batches) == 4
    assert not list(tmp_path.glob("out.run/part-*"))


def test_shards_and_unsharded_runs_resume_each_other(command: str, tmp_path: Path, fault: Fault):
    whole = expected(command, tmp_path)

    def interrupt(prompts: list[str]) -> None:
        if item(prompts, 3):
            raise KeyboardInterrupt

    fault.act = interrupt
    assert main(argv(command, tmp_path)) == 130
    fault.act, fault.batches = lambda prompts: None, []
    assert main(argv(command, tmp_path, "--shard", "1/2")) == 0
    assert main(argv(command, tmp_path)) == 0
    assert result(command, tmp_path) == whole and len(fault.batches) == 3


def test_an_item_with_nan_scores_is_reported_and_retried(
    command: str, tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    def nan(prompts: list[str]) -> None:
        if item(prompts, 4):
            check_finite([torch.tensor([0.5, float("nan")])], ["candidate 2"])

    fault.act = nan
    assert main(argv(command, tmp_path)) == 1
    printed = capsys.readouterr().out
    assert "not done: 1 in all; the same command tries them again" in printed
    assert "got score nan for step 1 of candidate 2" in printed
    done = (tmp_path / "out").read_text()
    if command in IN_PLACE:
        if command == "generate":
            assert "candidate 2" in (tmp_path / "out.rejected.jsonl").read_text()
        assert done.count("\n") == COUNT - 1
    else:
        found = json.loads(done)
        (aside,) = found["failed"]
        assert "candidate 2" in aside["reason"] and len(found["rows"]) == COUNT - 1
    fault.act, fault.batches = lambda prompts: None, []
    assert main(argv(command, tmp_path)) == 0
    assert len(fault.batches) == 1 and not (tmp_path / "out.rejected.jsonl").exists()
    assert "candidate 2" not in (tmp_path / "out").read_text()


def test_a_batch_out_of_memory_runs_in_halves(
    command: str, tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    def small(prompts: list[str]) -> None:
        if len(prompts) > 2:
            torch.empty(1 << 60, dtype=torch.uint8)

    fault.act = small
    assert main(argv(command, tmp_path)) == 0
    assert "out of memory: 3 batches were run in halves" in capsys.readouterr().out
    assert {len(batch) for batch in fault.batches} == {1, 2, 3}
    assert len(json.loads(json.dumps(result(command, tmp_path)))) > 0


def test_a_full_disk_loses_no_results(
    command: str,
    tmp_path: Path,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    whole, append = expected(command, tmp_path), Journal.append

    def full(self: Journal, *rows: Any) -> None:
        if len(self.done) >= 3:
            self.file.write(b'{"half a')
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, *rows)

    monkeypatch.setattr(Journal, "append", full)
    assert main(argv(command, tmp_path)) == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr(Journal, "append", append)
    assert main(argv(command, tmp_path)) == 0
    assert result(command, tmp_path) == whole


def test_other_options_are_refused_until_restart(
    command: str, tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    def interrupt(prompts: list[str]) -> None:
        if item(prompts, 3):
            raise KeyboardInterrupt

    fault.act = interrupt
    assert main(argv(command, tmp_path)) == 130
    fault.act = lambda prompts: None
    other = "--prompt-suffix" if command == "verify" else "--seed"
    capsys.readouterr()
    assert main(argv(command, tmp_path, other, "7")) == 2
    said = capsys.readouterr().err
    assert "was started with other settings" in said and "--restart" in said and "7" in said
    fault.batches.clear()
    assert main(argv(command, tmp_path, other, "7", "--restart")) == 0
    assert len(fault.batches) == 4
    assert not (tmp_path / "out.run" / "part-1-of-1.jsonl").exists()


@pytest.mark.parametrize("broken", ["generate", "verify", "label"])
def test_rows_before_a_corrupt_end_are_done_and_the_rest_is_reported(
    broken: str, tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    given = argv(broken, tmp_path)
    whole = gzip.compress((tmp_path / "in").read_bytes())
    (tmp_path / "in.gz").write_bytes(whole[: len(whole) * 3 // 4])
    given[given.index(str(tmp_path / "in"))] = str(tmp_path / "in.gz")
    assert main(given) == 0
    done = sum(len(batch) for batch in fault.batches)
    assert 0 < done < COUNT
    printed = capsys.readouterr().out
    if broken == "generate":
        printed = (tmp_path / "out.rejected.jsonl").read_text()
    assert "the gzip file is broken from here on" in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "0"], "need at least 1"),
        (["--workers", "2", "--shard", "1/2"], "give workers without a shard"),
        (["--restart", "--shard", "1/2"], "give restart without a shard"),
    ],
)
def test_rejects_invalid_options_before_loading_a_model(
    command: str,
    more: list[str],
    said: str,
    tmp_path: Path,
    fault: Fault,
    capsys: pytest.CaptureFixture[str],
):
    assert main(argv(command, tmp_path, *more)) == 2
    assert said in capsys.readouterr().err and fault.batches == []


def test_shards_without_output_are_refused(
    tmp_path: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
):
    given = [x for x in argv("eval", tmp_path) if x not in ("--output", str(tmp_path / "out"))]
    assert main([*given, "--shard", "1/2"]) == 2
    assert "beside the output" in capsys.readouterr().err
    assert main([*given, "--shard", "3/2"]) == 2
    assert "need I/N from 1/N to N/N" in capsys.readouterr().err


def test_fingerprint_changes_with_the_weights(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 3_000_000)
    before = folder_fingerprint(str(tmp_path))
    assert before == folder_fingerprint(str(tmp_path)) and folder_fingerprint("tiny") is None
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2_999_999 + b"1")
    assert folder_fingerprint(str(tmp_path)) != before
