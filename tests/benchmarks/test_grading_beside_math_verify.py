import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("math_verify", reason="math-verify is not installed")

# Their answers stand in prose only, or one in each of two boxes.
UNREAD = {"gpt35:1248:5", "gpt35:1983:0", "gpt35:2035:4", "gpt35:4290:1", "gpt35:4645:0"}


def test_draws_both_kinds_and_lists_where_the_two_graders_differ(
    tmp_path: Path, benchmark: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    grading = benchmark("papers.grading")
    texts = ["So it is $\\boxed{(1,3)}$.", "So $\\boxed{1 < x < 3}$.", "So \\boxed{7}.", "Hm."]
    path, out = tmp_path / "some.jsonl.gz", tmp_path / "out.jsonl"
    with gzip.open(path, "wt") as file:
        for k in range(8):
            row = {"question": f"Problem:\n{k}", "answer": "It is $\\boxed{(1,3)}$."}
            file.write(json.dumps(row | {"generated_answer": texts}) + "\n")
    halves = [[x.id for x in grading.read_half(path, half)] for half in grading.HALVES]
    assert sorted(halves[0] + halves[1]) == [f"some:{k}:{n}" for k in range(8) for n in range(4)]
    argv = ["--samples", str(path), "--output", str(out), "--count", "2", "--workers", "1"]
    verdicts = tmp_path / "verdicts.json"
    verdicts.write_text(json.dumps(dict.fromkeys(halves[1], True)))
    assert grading.main([*argv, "--verdicts", str(verdicts)]) == 0
    for row in map(json.loads, out.read_text().splitlines()):
        # An interval and its inequality: math-verify's parser takes the first for a pair.
        assert row["ours"] and not row["math_verify"] and row["stated"] == "1 < x < 3"
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "4"


@pytest.mark.slow
def test_samples_that_were_read_are_graded_as_they_were_read(
    shared_data: Path, tmp_path: Path, benchmark: Callable[[str], Any]
) -> None:
    grading = benchmark("papers.grading")
    verdicts = json.loads(grading.VERDICTS.read_text())
    samples = {
        sample.id: sample
        for name in ("gpt35", "gpt4")
        for sample in grading.read_half(shared_data / "math_samples" / f"{name}.jsonl.gz", "report")
        if sample.id in verdicts
    }
    assert samples.keys() == verdicts.keys() and len(samples) > 20
    graded = {
        id: x.stated is not None and grading.same_answers([(x.stated, x.answer)])[0]
        for id, x in samples.items()
    }
    wrong = {id for id, right in verdicts.items() if graded[id] != right}
    assert wrong <= UNREAD
