import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode import RationaleScorer, tiny
from reason_decode.cli import main
from reason_decode.cli import verify as command
from reason_decode.scorers.loading import load_scorer
from reason_decode.strategies import from_options
from tests.fakes import TableScorer


class Reader(TableScorer):
    """Finds every step with the word wrong in it, and reads prompt and steps as one text."""

    prompt_suffix = "\n"

    def __init__(self):
        super().__init__(lambda step: 0.1 if "wrong" in step else 0.9)


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Reader:
    reader = Reader()
    monkeypatch.setattr(command, "scorer_from_options", lambda *_, **__: reader)
    return reader


def row(k: int, mistake: int | None) -> dict[str, Any]:
    steps = [f"step {i}" + (" is wrong" if i == mistake else "") for i in range(3)]
    return {"input": f"{k} =", "steps": steps, "target": "1", "mistake_index": mistake}


ROWS = [row(k, (None, 1, 2)[k % 3]) for k in range(12)]


def written(path: Path, *rows: Any) -> str:
    lines = (line if isinstance(line, str) else json.dumps(line) for line in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_locates_and_measures_first_errors(
    tmp_path: Path, scorer: Reader, capsys: pytest.CaptureFixture[str]
):
    blank = {**row(50, None), "steps": [" "]}
    data = written(tmp_path / "d.jsonl", *ROWS[:6], "broken", {**ROWS[0], "steps": 3}, blank, *ROWS)
    out = tmp_path / "out.json"
    assert main(["verify", "--input", data, "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["format"], result["folds"], result["maximise"]) == ("bigbench-mistake", 5, "f1")
    assert (result["f1"], result["exact"], result["solutions"]) == (1.0, 1.0, 18)
    assert result["thresholds"] == pytest.approx([0.5] * 5)
    assert [reject["row"] for reject in result["rejected"]] == [7, 8] and result["malformed"] == 2
    assert result["left_out"] == {"solution without steps": 1}
    first, second = result["rows"][:2]
    assert (first["id"], first["predicted"], first["labelled"]) == ("d.jsonl:1", None, None)
    assert (second["predicted"], second["labelled"]) == (1, 1) and len(second["scores"]) == 3
    assert {prompt[-1] for prompt, _ in scorer.asked} == {"\n"}
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:5] == ["bigbench-mistake", "18", "12", "100.0", "%"]
    assert sum(line.startswith("set aside: ") for line in printed) == 3


def test_calibrates_on_a_share_another_file_or_not_at_all(tmp_path: Path, scorer: Reader):
    data, out = written(tmp_path / "d.jsonl", *ROWS), tmp_path / "out.json"
    labels = {"prompt": "q", "completions": ["a", "wrong"]}
    other = [{**labels, "labels": [True, False]}, {**labels, "labels": [True, True]}]
    calibrate = written(tmp_path / "c.jsonl", *other)
    for way, tested, rows in (
        (["--calibrate-share", "0.5"], 6, 12),
        (["--calibrate-on", calibrate], 12, 14),
        (["--threshold", "0.3"], 12, 12),
    ):
        assert main(["verify", "--input", data, *way, "--output", str(out)]) == 0
        result = json.loads(out.read_text())
        assert (result["solutions"], len(result["rows"]), result["folds"]) == (tested, rows, None)
    assert result["thresholds"] == [0.3]


def test_sets_unlabelled_solutions_aside(tmp_path: Path, scorer: Reader):
    said = [[None, None], [True, None], [None, False], [True, False], [True, True]]
    rows = [{"prompt": "p", "completions": ["a", "b"], "labels": labels} for labels in said]
    out = tmp_path / "out.json"
    data = written(tmp_path / "d.jsonl", *rows)
    argv = ["verify", "--input", data, "--format", "stepwise", "--threshold", "0.5"]
    assert main([*argv, "--prompt-suffix", "", "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert [row["labelled"] for row in result["rows"]] == [1, None]
    assert sorted(result["left_out"].values()) == [1, 2]
    assert {prompt for prompt, _ in scorer.asked} == {"p"}


def test_checks_the_output_before_it_loads_a_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "scorer_from_options", lambda *_, **__: pytest.fail("loaded"))
    argv = ["verify", "--input", str(tmp_path / "none")]
    assert main([*argv, "--output", str(tmp_path / "no" / "out.json")]) == 2
    assert "mkdir -p" in capsys.readouterr().err
    assert main([*argv, "--batch-size", "0"]) == 2
    assert "got batch_size=0; need at least 1" in capsys.readouterr().err


def test_rejects_invalid_folds_before_it_loads_a_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "scorer_from_options", lambda *_, **__: pytest.fail("loaded"))
    data = written(tmp_path / "d.jsonl", ROWS[0])
    for way in (["--folds", "0"], []):
        assert main(["verify", "--input", data, *way]) == 2
        assert "folds for 1 distinct prompts" in capsys.readouterr().err


def test_scores_steps_by_rationales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base, out = str(tiny.WEIGHTS / "base"), tmp_path / "out.json"
    data = written(tmp_path / "d.jsonl", *ROWS[:3])
    argv = ["verify", "--input", data, "--threshold", "-2", "--output", str(out)]
    made: list[RationaleScorer] = []

    def short(*args: Any, **kwargs: Any) -> RationaleScorer:
        scorer: Any = load_scorer(*args, **kwargs)
        made.append(scorer)
        made[0].writer.generation_config.max_new_tokens = 4
        return made[0]

    monkeypatch.setattr(from_options, "load_scorer", short)
    asked = ["--scorer", f"rationale={base}", "--likelihood-model", "tiny", "--contrastive"]
    assert main([*argv, *asked, "--discount", "0.9"]) == 0
    scorer = made[0]
    assert (scorer.contrastive, scorer.discount) == (True, 0.9)
    assert scorer.model is not scorer.writer.model
    result = json.loads(out.read_text())
    assert (result["scorer"], result["likelihood_model"]) == (f"rationale={base}", "tiny")
    assert result["discount"] == 0.9
    steps = ROWS[1]["steps"]
    (scores,) = scorer.score([ROWS[1]["input"] + result["prompt_suffix"]], [steps])
    assert result["rows"][1]["scores"] == pytest.approx(scores.tolist(), abs=1e-3)
    assert result["rows"][1]["predicted"] == next(
        (k for k, x in enumerate(scores.tolist()) if x < -2), None
    )
