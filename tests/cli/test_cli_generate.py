import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.serving import from_options
from tests.fakes import ByteTokenizer, Guided, ScriptedModel

PROMPTS = ['{"prompt": "a"}', "", "oops", '{"prompt": "b"}', '{"prompt": 3}', '{"prompt": "c"}']


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    scripted = ScriptedModel(str.upper)
    guided = Guided(lambda prompt: ["no", prompt.upper()])
    plain = ("greedy", "sample")
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: (scripted, ByteTokenizer()))
    monkeypatch.setattr(
        from_options,
        "strategy_from_options",
        lambda options, *_: None if options.strategy in plain else guided,
    )
    return scripted


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in.jsonl").write_text("\n".join(PROMPTS))
    return tmp_path / "in.jsonl", tmp_path / "out.jsonl"


def run(paths: tuple[Path, Path], *argv: str) -> list[dict[str, Any]]:
    source, out = paths
    assert main(["generate", "--input", str(source), "--output", str(out), *argv]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_writes_a_row_for_each_prompt(model: ScriptedModel, paths: tuple[Path, Path]):
    rows = run(paths, "--batch-size", "2")
    assert rows[0] == {"id": 1, "prompt": "a", "completion": "A", "score": 0.5}
    assert [(row["id"], row["completion"]) for row in rows] == [(1, "A"), (4, "B"), (6, "C")]
    assert [call["prompts"] for call in model.calls] == [["a", "b"], ["c"]]


def test_a_row_of_a_vote_has_its_agreement(
    model: ScriptedModel, paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    vote = Guided(lambda prompt: [prompt], votes={"a": 3.0, "b": 1.0})
    monkeypatch.setattr(from_options, "strategy_from_options", lambda *_: vote)
    assert {row["agreement"] for row in run(paths)} == {0.75}


def test_plain_decoding_has_no_score(model: ScriptedModel, paths: tuple[Path, Path]):
    rows = run(paths, "--strategy", "greedy", "--trace")
    assert {row["score"] for row in rows} == {None} and "trace" not in rows[0]
    assert model.calls[0]["do_sample"] is False


def test_writes_traces_if_asked_to(model: ScriptedModel, paths: tuple[Path, Path]):
    rows = run(paths, "--trace")
    assert [c["text"] for c in rows[1]["trace"]["candidates"]] == ["no", "B"]


def test_sets_malformed_lines_aside(
    model: ScriptedModel, paths: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
):
    run(paths)
    rejected = Path(f"{paths[1]}.rejected.jsonl")
    rows = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [row["row"] for row in rows] == [2, 3, 5]
    assert rows[2]["reason"] == "got the prompt 3; need a text"
    assert "3 completions, 0 of them from before; 3 lines set aside" in capsys.readouterr().out
    paths[0].write_text("\n".join(line for line in PROMPTS if line.startswith('{"prompt": "')))
    paths[1].unlink()
    run(paths)
    assert not rejected.exists()


def test_resumes_an_interrupted_run_with_its_seeds(model: ScriptedModel, paths: tuple[Path, Path]):
    whole = run(paths, "--batch-size", "1")
    seeds = [call["seed"] for call in model.calls]
    text = paths[1].read_text()
    paths[1].write_text(text[: text.index('"id": 4') + 20])
    model.calls.clear()
    assert run(paths, "--batch-size", "1") == whole
    assert [call["prompts"] for call in model.calls] == [["b"], ["c"]]
    assert [call["seed"] for call in model.calls] == seeds[1:]


def test_loads_no_model_for_a_finished_file(
    model: ScriptedModel, paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    whole = run(paths)
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: pytest.fail("loaded"))
    assert run(paths) == whole


def test_keeps_its_rows_after_a_failure(model: ScriptedModel, paths: tuple[Path, Path]):
    def fails(prompt: str) -> str:
        if prompt == "b":
            raise ValueError("too long")
        return prompt

    model.solve = fails
    argv = ["generate", "--strategy", "greedy", "--batch-size", "1"]
    assert main([*argv, "--input", str(paths[0]), "--output", str(paths[1])]) == 2
    assert json.loads(paths[1].read_text())["completion"] == "a"


def test_rejects_the_output_of_another_input(
    model: ScriptedModel, paths: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
):
    paths[1].write_text('{"id": 1, "prompt": "z"}\n')
    assert main(["generate", "--input", str(paths[0]), "--output", str(paths[1])]) == 2
    assert "answers no prompt of the input" in capsys.readouterr().err
    assert paths[1].read_text() == '{"id": 1, "prompt": "z"}\n' and model.calls == []


def test_rows_on_standard_output_stand_alone(
    model: ScriptedModel, paths: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
):
    assert main(["generate", "--input", str(paths[0]), "--output", "-", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["completion"] for line in out.splitlines()] == ["A", "B"]
    assert "set aside: line 3: no JSON" in err and not paths[1].exists()
    given = ["generate", "--input", str(paths[0]), "--output", "-", "--workers", "2"]
    assert main(given) == 2
    assert "got output=- with shards or workers" in capsys.readouterr().err
