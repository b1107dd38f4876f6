import json
from pathlib import Path

import pytest

from reason_decode.cli import main
from tests.viewer.traces import HOSTILE, best_of, search, vote


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    rows = [
        {"id": 1, "correct": True, "trace": search().to_dict()},
        {"id": 2, "trace": vote({"7": 2, None: 1}, {"7": 2.0}).to_dict()},
        {"id": 3, "trace": best_of((*HOSTILE, "x" * 1_000_000)).to_dict()},
    ]
    path = tmp_path / "out.jsonl"
    path.write_text("oops\n" + "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prints_the_tree_of_steps(traces: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["trace", "--input", str(traces), "--limit", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "1  StepSearch  right",
        "  search",
        "  ├─ 0.50  a  [*]",
        "  │  └─ 0.95  af  [*]",
        "  ├─ 0.90  b",
        "  │  ├─ 0.80  bd",
        "  │  │  ├─ 0.85  bdg  [finished, but another was returned]",
        "  │  │  └─ 0.30  bdh  [dropped, place 2 of 2 in its round; 1 kept]",
        "  │  └─ 0.20  be  [dropped, place 3 of 3 in its round; 2 kept]",
        "  └─ 0.10  c  [dropped, place 3 of 3 in its round; 2 kept]",
    ]
    assert printed.err == (
        "set aside: out.jsonl, line 1: no JSON: Expecting value: line 1 column 1 (char 0)\n"
    )


def test_prints_the_votes(traces: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["trace", "--input", str(traces), "--id", "2"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[-3:]] == [
        ["answer", "votes", "weight"],
        ["7", "2", "2", "*"],
        ["(none)", "1", "0"],
    ]


def test_escapes_text_that_would_steer_the_terminal(
    traces: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["trace", "--input", str(traces), "--id", "3"]) == 0
    printed = capsys.readouterr().out
    assert all(c.isprintable() for line in printed.splitlines() for c in line)
    assert "(1,000,000 characters)" in printed and len(printed) < 10_000


def test_writes_one_page_of_several_files(traces: Path, capsys: pytest.CaptureFixture[str]):
    out = traces.parent / "page.html"
    assert main(["trace", "--input", str(traces), str(traces), "--output", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 6 traces; 2 lines set aside\n"
    assert out.read_text().startswith("<!doctype html>")
    assert {path.name for path in traces.parent.iterdir()} == {"out.jsonl", "page.html"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["{}", "--limit", "0"], "need at least 1"),
        (["{}", "--id", "9"], "no trace of id 9"),
        (["{}", "--output", "{}"], "which is also an input; name another file"),
        (["{}", "--output", "no/where.html"], "mkdir -p"),
        (["missing.jsonl"], "missing.jsonl"),
        (["{}.csv"], "no trace in"),
    ],
)
def test_rejects_invalid_arguments(
    traces: Path, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    Path(f"{traces}.csv").write_text("a,b\n")
    assert main(["trace", "--input", *(word.format(traces) for word in argv)]) == 2
    assert said in capsys.readouterr().err
