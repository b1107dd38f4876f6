"""generate and eval against a real ``transformers serve`` on loopback, with the packaged model."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reason_decode import tiny
from reason_decode.cli import main
from reason_decode.core.errors import ScoringError
from reason_decode.scorers import EndpointVerifier
from reason_decode.serving import from_options
from tests.server_process import server_process

for needed in ("fastapi", "openai", "uvicorn"):
    reason = "pip install 'reason-decode[transformers-serve]' to run a server"
    pytest.importorskip(needed, reason=reason)

pytestmark = pytest.mark.slow

PATIENCE = 300  # seconds; the server is up after ten where nothing else runs
PUZZLES = ["1 1 4 6", "1 1 11 11", "1 1 3 8", "1 1 1 8"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server and the name of the model that it serves."""
    folder = tmp_path_factory.mktemp("served")
    model = folder / "model"
    shutil.copytree(tiny.WEIGHTS / "base", model)
    # The server samples only where the model's own settings say so.
    how = json.loads((model / "generation_config.json").read_text()) | {"do_sample": True}
    (model / "generation_config.json").write_text(json.dumps(how))
    code = "from transformers.cli.transformers import main; main()"

    def command(port: str) -> list[str]:
        given = ["serve", str(model), "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
        return [sys.executable, "-c", code, *given]

    own = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with server_process(command, folder / "log", own, PATIENCE) as url:
        yield f"{url}/v1", str(model)


@pytest.fixture(autouse=True)
def no_model_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_options, "load_model", lambda name, *_: pytest.fail("loaded"))


def evaluated(server: tuple[str, str], folder: Path, *more: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    rows = "".join(f"{k},{puzzle}\n" for k, puzzle in enumerate(PUZZLES, start=1))
    (folder / "24.csv").write_text(f"Rank,Puzzles\n{rows}")
    given = ["--input", str(folder / "24.csv"), "--task", "game24", "--output", str(folder / "out")]
    # The server has one random state for all requests: one at a time, for the same result again.
    where = ["--engine", server[0], "--model", server[1], "--concurrency", "1"]
    where += ["--server", "transformers"]
    assert main(["eval", *given, *where, *more]) == 0
    return json.loads((folder / "out").read_text())


def test_greedy_decoding_at_the_server_equals_greedy_decoding_here(
    server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = evaluated(server, tmp_path, "--strategy", "greedy")
    monkeypatch.undo()
    given = ["--input", str(tmp_path / "24.csv"), "--task", "game24", "--strategy", "greedy"]
    assert main(["eval", *given, "--output", str(tmp_path / "here")]) == 0
    here = json.loads((tmp_path / "here").read_text())
    assert there["rows"] == here["rows"] and there["cost"]["generator"]["sampled"] > 0


def test_best_of_n_of_a_server_s_samples_is_chosen_here(server: tuple[str, str], tmp_path: Path):
    given = ["--strategy", "best-of-n", "--scorer", "tiny", "--n", "4", "--limit", "2"]
    first, second = (evaluated(server, tmp_path / str(k), *given) for k in range(2))
    assert first["rows"] == second["rows"] and first["cost"] == second["cost"]
    assert first["cost"]["scorer"]["read"] > 0


@pytest.mark.parametrize(
    "strategy", ["self-consistency", "step-search", "particle-filter", "rationale-guided"]
)
def test_each_strategy_samples_there_and_its_tokens_are_counted(
    server: tuple[str, str], tmp_path: Path, strategy: str
):
    given = ["--strategy", strategy, "--n", "2", "--limit", "1", "--max-new-tokens", "60"]
    scorer = {"self-consistency": None, "rationale-guided": "rationale"}.get(strategy, "tiny")
    given += [] if scorer is None else ["--scorer", scorer]
    found = evaluated(server, tmp_path, *given)
    (row,) = found["rows"]
    cost = found["cost"]
    assert row["text"] and 0 < cost["generator"]["sampled"] <= 2 * 60
    assert (cost["scorer"]["read"] > 0) == (strategy != "self-consistency")


def test_completes_prompts_with_different_candidates(server: tuple[str, str], tmp_path: Path):
    (tmp_path / "in").write_text(json.dumps({"prompt": f"Make 24 from {PUZZLES[0]}.\n"}) + "\n")
    given = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--n", "6"]
    where = ["--engine", server[0], "--model", server[1], "--max-new-tokens", "60"]
    assert main(["generate", *given, *where, "--strategy", "self-consistency", "--trace"]) == 0
    row = json.loads((tmp_path / "out").read_text())
    texts = [candidate["text"] for candidate in row["trace"]["candidates"]]
    assert len(texts) == 6 and len(set(texts)) > 1 and row["completion"] in texts


def test_a_model_at_the_server_scores_what_is_sampled_here(server: tuple[str, str]):
    """It has never been asked anything, and says neither yes nor no; that much it is asked."""
    judge = EndpointVerifier(*server, concurrency=1)
    with pytest.raises(ScoringError, match="neither yes nor no"):
        judge.score(["Make 24 from 4 5 6 10.\n"], [["10 - 4 = 6 (left: 5 6 6)"]])
