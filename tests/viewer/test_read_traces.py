import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.io.read_report import Reject
from reason_decode.viewer import TraceEntry, read_traces
from tests.viewer.traces import HOSTILE, best_of, search, step, vote


def written(folder: Path, *rows: Any) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path = folder / "traces.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_reads_what_commands_write(tmp_path: Path):
    row = {"trace": search().to_dict(), "id": 7, "correct": True, "target": "24", "text": "a"}
    generated = {
        "id": 2,
        "prompt": "p",
        "score": 0.5,
        "trace": vote({"a": 1}, {"a": 1.0}).to_dict(),
    }
    bare = best_of(HOSTILE).to_dict()
    file = read_traces(written(tmp_path, {"run": {"seed": 3}}, row, generated, bare), run=1)
    assert file.run == {"seed": 3} and file.rejected == []
    assert file.traces == [
        TraceEntry(search(), 7, True, "24", 1),
        TraceEntry(vote({"a": 1}, {"a": 1.0}), 2, None, None, 1),
        TraceEntry(best_of(HOSTILE), 4, None, None, 1),
    ]


def test_a_run_with_nan_is_set_aside_and_the_traces_are_read(tmp_path: Path):
    """All traces were refused, without a line number."""
    path = tmp_path / "traces.jsonl"
    path.write_text('{"run": {"a": NaN}}\n' + json.dumps({"trace": search().to_dict()}) + "\n")
    file = read_traces(path)
    assert len(file.traces) == 1 and file.run == {}
    assert file.rejected == [Reject(1, "a run with a number that is NaN or infinite")]


def test_reads_the_lines_before_the_break_of_a_gzip_file(tmp_path: Path):
    path = tmp_path / "traces.jsonl.gz"
    line = json.dumps(best_of(("a",)).to_dict()) + "\n"
    path.write_bytes(gzip.compress(line.encode() * 3)[:-4])
    file = read_traces(path)
    assert len(file.traces) == 3 and "broken" in file.rejected[0].reason


def broken(**changes: Any) -> dict[str, Any]:
    return {"trace": {**json.loads(json.dumps(search().to_dict())), **changes}}


def candidate(**changes: Any) -> dict[str, Any]:
    return {**search().to_dict()["candidates"][0], **changes}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "no JSON"),
        ("[]", "need an object"),
        ('{"id": 1, "prompt": "p"}', "write them with --trace"),
        ({"trace": [1]}, "no trace: TypeError"),
        ({"trace": {}}, "no trace: KeyError: 'candidates'"),
        (broken(prompt=3), "got trace.prompt=3; need a text"),
        (broken(more=3), "unexpected keyword argument 'more'"),
        (broken(chosen=[]), "trace.chosen is empty"),
        (broken(chosen=[0, 9]), "there are 2 candidates"),
        (broken(chosen=[True]), "got trace.chosen[0]=True; need a whole number"),
        (broken(rounds=[[3]]), "no trace"),
        (broken(rounds=[[{**vars(step("a", 0.5)), "parent": 7}]]), "got parent=7 in round 0"),
        (broken(votes={"a": "b"}), "got trace.votes['a']='b'; need a finite number"),
        (broken(votes=[]), "got trace.votes=[]"),
        (broken(candidates=[candidate(scores=[float("nan")])]), "scores[0]=nan; need a finite"),
        (broken(candidates=[candidate(total=10**400)]), "need a finite number"),
        (broken(candidates=[candidate(total=float("-inf"))]), "got trace.candidates[0].total=-inf"),
        (broken(candidates=[candidate(answer=["x"])]), "answer=['x']; need a text"),
        (broken(candidates=[candidate(finished=1)]), "finished=1; need true or false"),
    ],
)
def test_malformed_lines_are_set_aside_with_a_reason(tmp_path: Path, row: Any, reason: str):
    file = read_traces(written(tmp_path, row, best_of(("a",)).to_dict()))
    assert len(file.traces) == 1
    assert [reject.row for reject in file.rejected] == [1]
    assert reason in file.rejected[0].reason
