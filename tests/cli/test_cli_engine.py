"""generate and eval with a server as engine, which has faults."""

import json
from pathlib import Path
from typing import Any

import pytest

from reason_decode.cli import main
from reason_decode.serving import from_options as completers
from reason_decode.strategies import from_options as strategies
from reason_decode.tiny import WEIGHTS, Tiny
from tests.completion_server import completions
from tests.server import Behaviour, served

THEIRS = ["--model", "theirs", "--tokenizer", str(WEIGHTS / "base")]
PROMPTS = [f"(({k} + 1) * (2 - {k})) =" for k in range(6)]


def well(prompt: str, count: int) -> None:
    """Nothing goes wrong."""


def say(body: dict[str, Any]) -> str:
    """Right with every second seed."""
    value = eval(body["prompt"].removesuffix(" =\n"), {})
    return f"So the answer is {value if body['seed'] % 2 else value + 1}."


@pytest.fixture(autouse=True)
def no_model_here(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    monkeypatch.setattr(completers, "load_model", lambda name, *_: pytest.fail("loaded"))
    monkeypatch.setattr(strategies, "load_scorer", lambda name, **_: tiny.prm)


def argv(folder: Path, url: str, *more: str) -> list[str]:
    rows = [{"input": x, "target": str(eval(x[:-2], {}))} for x in PROMPTS]
    (folder / "data").write_text(json.dumps({"examples": rows}))
    given = ["--input", str(folder / "data"), "--task", "bbh-arithmetic", "--n", "4"]
    given += ["--batch-size", "2", "--output", str(folder / "out"), "--attempts", "3"]
    scored = {"best-of-n", "step-search", "particle-filter"}
    scorer = ["--scorer", "tiny"] if scored & {*more} else []
    return ["eval", *given, "--engine", url, *THEIRS, *scorer, *more]


def result(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "out").read_text())
    return {name: x for name, x in found.items() if name != "seconds"}


def run(folder: Path, behave: Behaviour, *more: str) -> tuple[int, list[dict[str, Any]]]:
    with served(behave, say) as (url, got):
        return main(argv(folder, url, *more)), got


@pytest.mark.parametrize("strategy", ["sample", "self-consistency", "best-of-n"])
def test_samples_at_the_server_and_chooses_here(tmp_path: Path, strategy: str):
    status, got = run(tmp_path, well, "--strategy", strategy, "--extra-body", '{"top_k": -1}')
    n = 1 if strategy == "sample" else 4
    found = result(tmp_path)
    assert (status, found["items"], len(got)) == (0, 6, 6 * n)
    assert {(x["path"], x["model"], x["top_k"], x["temperature"]) for x in got} == {
        ("/v1/completions", "theirs", -1, 1.0)
    }
    assert len({x["seed"] for x in got}) == 6 * n
    generator = {"prefill": 18 * n, "decode": 24 * n, "sampled": 30 * n}
    assert found["cost"]["generator"] == generator
    assert (found["cost"]["scorer"]["read"] > 0) == (strategy == "best-of-n")
    if strategy != "sample":
        assert found["pass_at_n"] >= found["accuracy"]


def test_a_dropped_connection_costs_only_a_second_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reason_decode.io.openai_client.random.uniform", lambda low, high: 0.0)
    for folder in ("well", "dropped"):
        (tmp_path / folder).mkdir()
    more = ("--strategy", "self-consistency", "--concurrency", "1")
    count = [0]

    def third(prompt: str, _: int) -> str | None:
        count[0] += 1
        return "drop" if count[0] % 3 == 0 else None

    status, got = run(tmp_path / "dropped", third, *more)
    assert (status, len(got)) == (0, 24 + (24 - 1) // 2)
    assert run(tmp_path / "well", well, *more)[0] == 0
    assert result(tmp_path / "dropped") == result(tmp_path / "well")


def test_a_run_resumes_when_the_server_is_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("reason_decode.io.openai_client.random.uniform", lambda low, high: 0.0)
    more = ("--strategy", "sample", "--concurrency", "1")

    def down(prompt: str, _: int) -> str | None:
        return "drop" if prompt.startswith("((3") else None

    assert run(tmp_path, down, *more)[0] == 2
    assert "what is finished is kept: try again when the server is up" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    status, got = run(tmp_path, well, *more)  # at another port, which is of no matter
    assert (status, len(got), result(tmp_path)["items"]) == (0, 4, 6)


def test_sets_prompts_aside_that_the_server_refuses(tmp_path: Path):
    def long(prompt: str, _: int) -> Any:
        return (400, {}, "") if prompt.startswith("((3") else None

    assert run(tmp_path, long, "--strategy", "best-of-n")[0] == 1
    (aside,) = result(tmp_path)["failed"]
    assert aside["id"] == 3 and aside["reason"].startswith("HTTP 400")
    assert result(tmp_path)["items"] == 5


def test_generate_writes_completions_of_the_server(tmp_path: Path):
    lines = "".join(json.dumps({"prompt": f"{x}\n"}) + "\n" for x in PROMPTS)
    (tmp_path / "in").write_text(lines)
    given = ["generate", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    with served(well, say) as (url, _):
        assert main([*given, "--engine", url, "--n", "3", "--trace"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert len(rows) == 6 and len(rows[0]["trace"]["candidates"]) == 3
    assert rows[0]["score"] == max(c["total"] for c in rows[0]["trace"]["candidates"])


@pytest.mark.parametrize("strategy", ["step-search", "particle-filter", "self-consistency"])
def test_searches_step_by_step_and_stops_early_at_the_server(
    tmp_path: Path, strategy: str, tiny: Tiny
):
    words = tiny.tokenizer
    ids = [*words("1 + 1 = 2\nSo the answer is 2.")["input_ids"], words.eos_token_id]
    more = ["--early-stop", "decided"] if strategy == "self-consistency" else []
    with completions(lambda *_: ids, words) as made:
        given = argv(tmp_path, made.url, "--strategy", strategy, "--limit", "2", *more)
        assert main(given) == 0
    assert result(tmp_path)["items"] == 2 and result(tmp_path)["pass_at_n"] <= 1
    counts = [body.get("n", 1) for body in made.bodies]
    # A vote of four is decided after three like answers; a search asks at every step.
    assert sum(counts) == 6 if strategy == "self-consistency" else sum(counts) > 8


def test_a_model_without_a_tokenizer_is_told_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = [x for x in argv(tmp_path, "http://127.0.0.1:1/v1", "--strategy", "sample")]
    place = given.index("--tokenizer")
    assert main(given[:place] + given[place + 2 :]) == 2
    assert "name the folder or Hub id of the model's tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--strategy", "sample", "--dtype", "float32"], "which is of a model in this process"),
        (["--strategy", "sample", "--tokenizer", "no/such"], "no/such"),
        (["--strategy", "sample", "--extra-body", "3"], "got extra_body=3; need an object"),
    ],
)
def test_rejects_options_of_a_model_in_this_process(
    tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv(tmp_path, "http://127.0.0.1:1/v1", *more)) == 2
    assert said in capsys.readouterr().err


def test_a_chat_model_at_a_server_scores_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Tiny, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.undo()
    asked: list[str] = []

    def verdict(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body["messages"][-1]["content"])
        return {"message": {"role": "assistant", "content": "Yes" if "30" in asked[-1] else "No"}}

    (tmp_path / "in").write_text(json.dumps({"prompt": "Make 36 from 4 5 6 10.\n"}) + "\n")
    given = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--n", "4"]
    given += ["--model", "tiny", "--max-new-tokens", "40", "--strategy", "best-of-n"]
    with served(lambda *_: None, choice=verdict) as (url, _):
        server = ["--scorer-endpoint", url, "--scorer-model", "judge"]
        assert main(["generate", *given, *server]) == 0
    row = json.loads((tmp_path / "out").read_text())
    assert asked and row["score"] in (0.0, 1.0)
    assert main(["generate", *given, "--scorer-endpoint", "http://localhost:8000/v1"]) == 2
    assert "give both, the server's address and the model's name" in capsys.readouterr().err
