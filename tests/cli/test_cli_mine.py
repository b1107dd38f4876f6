import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.mining import distributed

ROOT = Path(__file__).resolve().parents[2]
COUNT = 60


def embed(texts: list[str]) -> list[list[float]]:
    return [[float("+" in text), 1.0] for text in texts]


def insert(chats: Iterable[Any]) -> Iterator[str]:
    """A writer that puts a rationale before the second line."""
    for chat in chats:
        yield chat[-1]["content"].replace("\n", "\n<BOT>add them<EOT>", 1)


def interrupted(chats: Iterable[Any]) -> Iterator[str]:
    """That writer, when somebody presses Ctrl-C."""
    for k, answer in enumerate(insert(chats)):
        if k == 8:
            raise KeyboardInterrupt
        yield answer


def data(folder: Path, count: int = COUNT) -> Path:
    path = folder / "sums.jsonl"
    sums = ((k, k * 37 % 101, k * 53 % 89) for k in range(count))
    rows = [
        {"id": str(k), "text": f"Sum {k}: {a} and {b}.\n{a} + {b} = {a + b}\n"} for k, a, b in sums
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"id": "twin"}]))
    return path


def arguments(path: Path, out: Path, *more: str) -> list[str]:
    models = ["--writer", "test_cli_mine:insert", "--loss-model", "tiny"]
    models += ["--min-loss-delta", "-100", "--batch-size", "2"]
    return ["mine", "--input", str(path), "--output", str(out), *models, *more]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def records(out: Path) -> list[tuple[Any, ...]]:
    """Id and numbers of each record, rounded, since batches differ in the last bits."""
    rows = lines(out / "rationales.jsonl") + lines(out / "dropped.jsonl")
    names = ("source", "id", "index", "stage", "reason", "rationale", "following")
    told = [(*(row.get(name) for name in names), round(row.get("delta") or 0.0, 3)) for row in rows]
    return sorted(told, key=str)


def test_every_stage_in_one_command(tmp_path, capsys):
    path, out = data(tmp_path, 20), tmp_path / "out"
    with path.open("a") as file:
        file.write("broken\n")
    test, wanted = tmp_path / "test.jsonl", tmp_path / "wanted.jsonl"
    test.write_text('{"question": "Sum 3: 10 and 70.", "answer": "80"}\n')
    wanted.write_text('{"text": "1 + 1"}\n')
    more = ["--decontaminate-against", str(test), "--decontaminate-ngram", "5"]
    more += ["--embedder", "test_cli_mine:embed", "--min-cosine", "0.9"]
    more += ["--references", json.dumps({"sums": str(wanted)})]
    more += ["--domain-by-source", '{"sums": "math"}']
    assert main(arguments(path, out, *more)) == 0
    printed = capsys.readouterr().out
    assert "22 rows: 21 items; malformed: 1 (sums.jsonl, row 22" in printed
    counts = json.loads((out / "report.json").read_text())
    assert counts["documents"]["sums"]["taken"] == 21
    assert counts["reasons"]["dedup"] == {"near duplicate": 1}
    assert counts["reasons"]["decontaminate"] == {"contaminated": 1}
    assert counts["rationales"]["sums"]["kept"] == len(lines(out / "rationales.jsonl")) == 19
    assert lines(out / "rationales.jsonl")[0]["similarity"] == pytest.approx(1)
    assert json.loads((out / "input.json").read_text())["malformed"] == 1
    # Once more, and nothing is done again; with another option it is refused.
    before = (out / "journal" / "00000.jsonl").read_bytes()
    assert main(arguments(path, out, *more)) == 0
    assert (out / "journal" / "00000.jsonl").read_bytes() == before
    capsys.readouterr()
    assert main(arguments(path, out)) == 2
    assert "was started with other settings (decontaminate_against: " in capsys.readouterr().err


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_records_and_none_twice(tmp_path):
    # The promise of the command: kill -9 loses nothing that was done and repeats nothing.
    path, out = data(tmp_path), tmp_path / "killed"
    journal, generator = out / "journal" / "00000.jsonl", random.Random()
    code = "import sys; from reason_decode.cli import main; sys.exit(main(sys.argv[1:]))"
    folders = (ROOT, ROOT / "kernels" / "torch-ext", Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    sizes, status = [0], 0
    for _ in range(2):
        # Beyond what stands there: a busy machine may have written more than was waited for.
        goal = sizes[-1] + generator.randrange(1, COUNT // 4)
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments(path, out)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= goal:
                time.sleep(generator.random() / 50)
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.001)
        sizes.append(journal.read_bytes().count(b"\n"))
        status = process.returncode
    assert status == -signal.SIGKILL and 0 < sizes[1] < sizes[2] < COUNT + 1, sizes
    assert main(arguments(path, out)) == 0
    assert main(arguments(path, tmp_path / "whole")) == 0
    found = records(out)
    assert found == records(tmp_path / "whole")
    assert len({row[:3] for row in found}) == len(found) == COUNT + 1


@pytest.mark.filterwarnings("ignore")  # datatrove's and multiprocess's own
def test_datatroves_executor_gives_the_same_records(tmp_path):
    pytest.importorskip("datatrove", reason="datatrove is not installed")
    path = data(tmp_path, 30)
    assert main(arguments(path, tmp_path / "here")) == 0
    local = ["--workers", "3", "--executor-options", '{"workers": 1}']
    for _ in range(2):
        assert main(arguments(path, tmp_path / "local", *local)) == 0
    assert records(tmp_path / "local") == records(tmp_path / "here")
    assert len(list((tmp_path / "local" / "journal").iterdir())) == 4  # and that of the split


def test_reports_documents_that_an_executor_left(tmp_path, capsys, monkeypatch):
    # Ray's raises for no part that fails, and the files are of what the others have done.
    pytest.importorskip("datatrove", reason="datatrove is not installed")
    failing = SimpleNamespace(run=lambda: None)
    monkeypatch.setattr(distributed, "load_executor", lambda kind: lambda **options: failing)
    ray = ["--executor", "ray", "--workers", "2"]
    assert main(arguments(data(tmp_path, 9), tmp_path / "out", *ray)) == 1
    assert "not done: 9 documents (9 x see " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--min-loss-delta", "nan"], "need a finite number of nats"),
        (["--min-loss-delta-by-source", '{"sums": Infinity}'], "need a finite number of nats"),
        (["--shard", "1/2"], "a mining run is divided by workers"),
        (["--endpoint", "http://localhost"], "name the model that is served there"),
        (["--dedup-threshold", "0"], "need a number above 0"),
        (["--writer", "test_cli_mine:nothing"], "has no function 'nothing'"),
        (["--references", '{"sums": "missing.jsonl"}'], "missing.jsonl"),
    ],
)
def test_rejects_invalid_options(tmp_path, capsys, more, told):
    path = data(tmp_path, 2)
    assert main([*arguments(path, tmp_path / "out"), *more]) == 2
    assert told in capsys.readouterr().err


def test_a_restart_removes_the_results_of_the_run_before_and_no_other_file(tmp_path):
    path, out = data(tmp_path, 6), tmp_path / "out"
    assert main(arguments(path, out)) == 0
    (out / "journal" / "notes.txt").write_text("mine")
    other = ["--min-loss-delta", "1000"]
    assert main([*arguments(path, out), *other]) == 2
    assert main([*arguments(path, out), *other, "--restart"]) == 0
    assert lines(out / "rationales.jsonl") == []
    assert (out / "journal" / "notes.txt").read_text() == "mine"


def test_a_run_in_which_nothing_is_kept_is_no_failure(tmp_path, capsys):
    out = tmp_path / "out"
    given = arguments(data(tmp_path, 2), out)
    given[given.index("test_cli_mine:insert")] = "tagged"
    assert main(given) == 0
    assert "extract: 2 x no rationale in the text" in capsys.readouterr().out
    assert (out / "rationales.jsonl").read_text() == ""


def test_interrupted_it_reports_progress_and_how_to_resume(tmp_path, capsys):
    given = arguments(data(tmp_path, 20), tmp_path / "out")
    given[given.index("test_cli_mine:insert")] = "test_cli_mine:interrupted"
    assert main(given) == 130
    said = capsys.readouterr().err
    done = len(lines(tmp_path / "out" / "journal" / "00000.jsonl"))
    assert 0 < done < 20 and f"{done} documents are done and kept in " in said
    assert said.rstrip().endswith(" ".join(["reason-decode", *given]))
