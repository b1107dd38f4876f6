import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reason_decode import tiny
from tests.tolerance import assert_close, roundings

pytestmark = pytest.mark.slow


@pytest.fixture
def pool(
    benchmark: Callable[[str], Any], tmp_path: Path
) -> tuple[Path, Path, list[dict[str, Any]]]:
    """A pool of six games, three samples each, with its states; each game has right and wrong."""
    data, out = tmp_path / "24.csv", tmp_path / "pool.jsonl"
    games = ("1 1 4 6", "2 2 2 9", "1 2 4 7", "3 3 4 6", "1 3 4 8", "2 4 6 8")
    rows = "".join(f"{k},{game}\n" for k, game in enumerate(games, start=1))
    data.write_text("Rank,Puzzles\n" + rows)
    argv = ["--task", "game24", "--input", str(data), "--output", str(out), "--n", "3"]
    assert benchmark("papers.chat_pool").main([*argv, "--max-new-tokens", "24"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    for row in found:
        for k, sample in enumerate(row["samples"]):
            sample["correct"] = k == 0
    out.write_text("".join(json.dumps(row) + "\n" for row in found))
    argv = ["--model", "tiny", "--task", "game24", "--pool", str(out), "--layers", "2", "6"]
    states = benchmark("papers.chat_states")
    assert states.main([*argv, "--output", str(tmp_path / "states")]) == 0
    return out, tmp_path / "states", found


def test_states_and_statistics_are_those_of_the_samples_own_tokens(
    pool: tuple[Path, Path, list[dict[str, Any]]],
) -> None:
    _, folder, rows = pool
    t = tiny.load()
    row = rows[0]
    found = load_file(folder / f"{row['id']}.safetensors")
    for k, sample in enumerate(row["samples"]):
        prompt = t.tokenizer(row["question"], return_tensors="pt")["input_ids"][0]
        end = [t.tokenizer.eos_token_id] if sample["finished"] else []
        own = [x for x in sample["token_ids"] if x not in end] + end
        ids = torch.cat([prompt, torch.tensor(own)])
        with torch.no_grad():
            out = t.model(ids[None], output_hidden_states=True)
        inner = t.model.base_model.norm(out.hidden_states[2])[0]
        half = torch.finfo(torch.float16).eps
        assert torch.allclose(found["last"][k, 0].float(), inner[-1], rtol=2 * half, atol=half)
        logps = out.logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
        expected = logps.gather(1, torch.tensor(own)[:, None])[:, 0]
        terms = roundings(t.model)
        scale = float(out.logits.abs().max())
        assert_close(found[f"stats.{k}"][0], expected, terms=terms, scale=scale)


def test_all_choices_are_beside_the_vote_of_the_same_samples(
    pool: tuple[Path, Path, list[dict[str, Any]]],
    benchmark: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, states, _ = pool
    out = tmp_path / "out.json"
    argv = ["--pool", str(rows), "--states", str(states), "--train-pool", str(rows)]
    argv += ["--train-states", str(states), "--output", str(out)]
    assert benchmark("papers.chat_select").main(argv) == 0
    result = json.loads(out.read_text())
    assert result["rows"]["vote"]["beside_vote"] == [0.0, 0.0, 0.0]
    assert result["rows"]["pass@N"]["closed"] == 1.0
    assert result["single"] == pytest.approx(1 / 3)
    # It is asked about the samples that it has learned.
    assert result["rows"]["outcome, last token"]["accuracy"][0] >= 50
    assert "pairs in order" in capsys.readouterr().out


def test_a_head_fits_what_is_separable_and_a_penalty_makes_it_smaller(
    benchmark: Callable[[str], Any],
) -> None:
    heads = benchmark("papers.chat_heads")
    torch.manual_seed(0)
    x = torch.randn(40, 3) * torch.tensor([1.0, 100.0, 0.01]) + 5
    right = x[:, 0] > 5
    free, held = (heads.fit(x, heads.pointwise(right), penalty) for penalty in (1e-4, 1.0))
    assert bool(((free(x) > 0) == right).all())
    assert float(held.weight[0].abs()) < float(free.weight[0].abs())
