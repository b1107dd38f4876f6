import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.evaluation.answer_calibration import AnswerCalibration, fit_calibration
from reason_decode.serving import from_options
from tests.fakes import ByteTokenizer, Guided, ScriptedModel

ROWS = [
    {"id": k, "correct": k % 5 > 4 - k % 4, "text": "x", "agreement": (1 + k % 4) / 4, "score": 0.5}
    for k in range(40)
]


@pytest.fixture
def vote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that sample nothing: three of four votes go to the answer of each prompt."""
    votes = Guided(lambda prompt: [prompt], votes={"a": 3.0, "b": 1.0})
    models = ScriptedModel(str.upper), ByteTokenizer()
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: models)
    monkeypatch.setattr(
        from_options,
        "strategy_from_options",
        lambda options, *_: None if options.strategy == "greedy" else votes,
    )


def _calibration(tmp_path: Path, right_of_three: bool) -> str:
    values: list[float | None] = [0.25 if k < 9 else 0.75 for k in range(18)]
    fitted = fit_calibration(values, [not right_of_three] * 9 + [right_of_three] * 9)
    fitted.save(tmp_path / "calibration.json")
    return str(tmp_path / "calibration.json")


def test_a_calibration_is_learnt_from_a_result_of_eval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "eval.json", tmp_path / "calibration.json"
    source.write_text(json.dumps({"accuracy": 0.3, "rows": [*ROWS, {"id": 40, "correct": True}]}))
    report = tmp_path / "report.json"
    argv = ["train", "calibration", "--input", str(source), "--output", str(out)]
    assert main([*argv, "--report", str(report)]) == 0
    fitted = AnswerCalibration.load(out)
    assert fitted.value == "agreement" and fitted.method == "isotonic"
    assert fitted.probability(0.25) < fitted.probability(1.0)
    printed = capsys.readouterr().out
    assert "40 answers, 5 folds" in printed
    assert "set aside: row 41: need `correct` and a number as `agreement`" in printed
    assert json.loads(report.read_text())["answers"] == 40


def test_rows_of_generate_have_a_probability_and_may_be_abstained(
    vote: None, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "a"}\n')
    argv = ["generate", "--input", str(source), "--calibration", _calibration(tmp_path, True)]
    for level, abstained in (("0.9", False), ("0.99", True)):
        argv_of_level = [*argv, "--output", str(out), "--abstain-below", level, "--restart"]
        assert main(argv_of_level) == 0
        row = json.loads(out.read_text())
        assert row["probability"] == pytest.approx(9.5 / 10) and row["abstained"] is abstained
        assert row["completion"] == "a"


def test_eval_grades_the_answers_that_are_given(
    vote: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "24.csv", tmp_path / "out.json"
    data.write_text("Rank,Puzzles\n1,1 1 4 6\n")
    argv = ["eval", "--input", str(data), "--task", "game24", "--output", str(out)]
    argv += ["--strategy", "self-consistency"]
    for right, answered in ((True, 1), (False, 0)):
        given = ["--calibration", _calibration(tmp_path, right), "--abstain-below", "0.6"]
        assert main([*argv, *given, "--restart"]) == 0
        result: dict[str, Any] = json.loads(out.read_text())
        assert result["answered"]["answered"] == answered
        assert result["rows"][0]["abstained"] is not right
        assert f"or more: {answered or 'none'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["generate", "--abstain-below", "0.9"], "without calibration, which says how"),
        (["generate", "--calibration", "c", "--strategy", "greedy"], "got calibration=c with gre"),
        (["generate", "--calibration", "c", "--abstain-below", "9"], "got abstain_below=9.0; need"),
        (["train", "calibration", "--folds", "1"], "got folds=1; need at least 2"),
        (["train", "calibration"], "hold no graded answer with agreement; row 1: need `correct`"),
    ],
)
def test_what_cannot_work_is_refused(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "a"}\n')
    assert main([*argv, "--input", str(source), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
