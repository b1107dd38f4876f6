import doctest
import gzip
import json
from collections import Counter
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from reason_decode.io.read_report import ReadReport, Reject
from reason_decode.training.data import read_labelled

STEPWISE = {"prompt": "p", "completions": ["a", "b", "c"], "labels": [True, False, True]}
SHEPHERD = "p Step 1: x {} Step 2: y {}"
CHOICE = {
    "completions": [{"text": "a", "rating": -1}, {"text": "b", "rating": 0}],
    "chosen_completion": 0,
}
TREE = {
    "question": {"problem": "p", "ground_truth_answer": "6"},
    "label": {"steps": [CHOICE, CHOICE], "finish_reason": "solution"},
}
ROWS: dict[str, dict[str, Any]] = {
    "prm800k": TREE,
    "stepwise": STEPWISE,
    "math-shepherd": {
        "input": SHEPHERD.format("ки", "ки"),
        "label": SHEPHERD.format("+", "-"),
        "task": "MATH",
    },
    "processbench": {"id": "x", "problem": "p", "steps": ["a"], "label": 0},
    "bigbench-mistake": {"input": "p", "steps": ["a"], "target": "6", "mistake_index": None},
    "plain": {"prompt": "p", "solution": "a\nb", "answer": "6"},
}


def write(path: Path, *rows: Any) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("format", ROWS)
def test_formats_are_detected(tmp_path: Path, format: str):
    path = write(tmp_path / "rows.jsonl.gz", "{", {"text": "?"}, ROWS[format], ROWS[format])
    report = ReadReport()
    found = list(read_labelled(path, report=report))
    assert found == list(read_labelled(path, format))
    assert (report.format, report.rows, report.malformed) == (format, 4, 2)
    assert [reject.row for reject in report.rejected] == [1, 2]
    assert "known formats are prm800k" in report.rejected[1].reason
    expected = "x" if format == "processbench" else "rows.jsonl.gz:3"
    assert found[0].source == expected and found[0].prompt == "p"


def test_the_first_well_formed_row_decides_the_format(tmp_path: Path):
    report = ReadReport()
    path = write(tmp_path / "x.jsonl", {**STEPWISE, "labels": 7}, ROWS["plain"], STEPWISE)
    assert len(list(read_labelled(path, report=report))) == 1
    assert report.format == "plain"
    assert report.rejected[1:] == [Reject(3, "got None as `solution`; need text")]


def test_malformed_rows_are_reported_and_lose_no_other_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    good = [{**STEPWISE, "prompt": f"p{k}"} for k in range(6)]
    short = {**STEPWISE, "labels": []}
    path = write(tmp_path / "x.jsonl", "", *good[:3], "{", "[1]", short, *good[3:], "nul")
    report = ReadReport()
    found = list(read_labelled(path, report=report))
    assert [solution.prompt for solution in found] == [f"p{k}" for k in range(6)]
    assert [(reject.row, reject.reason[:9]) for reject in report.rejected] == [
        (1, "blank lin"),
        (5, "no JSON: "),
        (6, "got a JSO"),
        (7, "got 0 lab"),
        (11, "no JSON: "),
    ]
    assert (report.rows, report.items, report.malformed) == (11, 6, 5)
    assert "malformed: 5 (row 1: blank line)" in caplog.text


def test_neutral_and_the_first_error(tmp_path: Path):
    path = write(tmp_path / "tree.jsonl", TREE)

    def labels(**options: Any) -> list[tuple[int | None, ...]]:
        return [solution.labels for solution in read_labelled(path, **options)]

    # The path is a (-1), a (-1); b (0) leaves it at either step.
    assert labels() == [(-1, None), (1,)]
    assert labels(neutral="keep") == [(-1, None), (0,)]
    assert labels(neutral="negative", until_first_error=False) == [(-1, -1), (-1,), (None, -1)]
    assert labels(until_first_error=False, repeat=True) == [(-1, -1), (1,), (-1, 1)]


def test_left_out_rows_are_counted(tmp_path: Path):
    rows = [TREE, *[TREE | {"is_quality_control_question": True}] * 2]
    path, report = write(tmp_path / "tree.jsonl", *rows), ReadReport()
    assert len(list(read_labelled(path, report=report))) == 2
    # Of the second step's branch nothing is learnt, for the path was wrong before it.
    assert report.left_out == {"quality_control": 2, "solution without a label of its own": 1}
    assert str(report).endswith(
        "left out: 1 solution without a label of its own, 2 quality_control"
    )
    assert len(list(read_labelled(path, include=["quality_control"]))) == 6


def test_rejects_invalid_arguments_before_opening_the_file():
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"format": "prm"}, "'auto', prm800k, stepwise"),
        ({"neutral": "yes"}, "'positive', 'negative'"),
        ({"include": ["flagged"]}, "screening, quality_control, bad_problem"),
        ({"include": "screening"}, "allowed is a list"),
        ({"separator": ""}, "empty separator"),
    ]
    for options, allowed in wrong:
        with pytest.raises(ValueError, match=allowed):
            read_labelled("missing.jsonl", **options)
    with pytest.raises(FileNotFoundError):
        next(read_labelled("missing.jsonl"))


@pytest.mark.parametrize("rows", [[], ["{"], [{"text": "?"}]])
def test_a_file_without_any_solution_is_an_error(tmp_path: Path, rows: list[Any]):
    with pytest.raises(ValueError, match=rf"no usable row: {len(rows)} rows: 0 items"):
        list(read_labelled(write(tmp_path / "x.jsonl", *rows)))


def test_the_report_of_malformed_rows_is_bounded(tmp_path: Path):
    path, report = write(tmp_path / "x.jsonl", *["{"] * 1500, STEPWISE), ReadReport()
    assert len(list(read_labelled(path, report=report))) == 1
    assert (report.malformed, len(report.rejected)) == (1500, 1000)


def resident() -> int:
    """Bytes of memory in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_million_rows_stream_in_constant_memory_and_lose_nothing(tmp_path: Path):
    # 1,000 blocks of 1,000 rows, of which three are bad: some 400 MB as objects, 1 as a block.
    row = json.dumps(STEPWISE)
    lines = [row] * 1000
    lines[17], lines[500], lines[999] = '{"prompt": "p"', json.dumps({**STEPWISE, "labels": 7}), ""
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(1000):
            file.write(("\n".join(lines) + "\n").encode())

    report = ReadReport()
    before, peak = resident(), 0
    solutions = read_labelled(path, report=report)
    while sum(1 for _ in islice(solutions, 50_000)):
        peak = max(peak, resident())
    assert peak - before < 16 * 2**20
    assert (report.rows, report.items, report.malformed) == (10**6, 997_000, 3000)
    assert [reject.row for reject in report.rejected[:4]] == [18, 501, 1000, 1018]


def test_bigbench_mistake_reads_the_published_files(shared_data: Path):
    tasks = {
        "multistep_arithmetic": (156, 38),
        "dyck_languages": (482, 182),
        "logical_deduction": (151, 4),
        "tracking_shuffled_objects": (151, 26),
        "word_sorting": (143, 13),
    }
    for task, (count, right) in tasks.items():
        path = shared_data / "bigbench_mistake" / f"{task}.jsonl"
        report = ReadReport()
        found = list(read_labelled(path, report=report))
        assert (report.format, len(found), report.malformed) == ("bigbench-mistake", count, 0)
        kinds = Counter(-1 in solution.labels for solution in found)
        assert kinds[False] == right
        for line, solution in zip(path.read_text().splitlines(), found, strict=True):
            place = json.loads(line)["mistake_index"]
            assert place is None or solution.labels.index(-1) == place


@pytest.mark.parametrize("name", ["data", "dataset_formats", "prm800k", "labelled"])
def test_every_public_function_has_an_example_that_runs(name: str):
    for module in (
        "reason_decode.io.jsonl",
        "reason_decode.io.fields",
        f"reason_decode.training.{name}",
    ):
        loaded = import_module(module)
        finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
        for public in loaded.__all__:
            value = getattr(loaded, public)
            if getattr(value, "__module__", None) == module and callable(value):
                (example,) = finder.find(value, public, globs=dict(vars(loaded)))
                assert example.examples or public == "Reject", f"{public} has no example"
                assert not runner.run(example).failed
