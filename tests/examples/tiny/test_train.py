import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from examples.tiny import export, train
from examples.tiny.batch import RIGHT
from examples.tiny.mixtures import Mixture, MixtureDataset
from examples.tiny.model import LossWeights, MultiHeadModel, model_config
from reason_decode.scorers import ProcessRewardModel
from reason_decode.tiny import Tiny


def _network() -> MultiHeadModel:
    torch.manual_seed(0)
    config = model_config(327)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 16, 16, 3
    return MultiHeadModel(LlamaForCausalLM(config))


def _run(tiny: Tiny, out: Path, steps: int, until: int | None = None) -> MultiHeadModel:
    """Train for ``steps``; with ``until`` stop there, as a killed run does."""
    out.mkdir(exist_ok=True)
    network = _network()
    data = MixtureDataset(tiny.tokenizer, [(0, Mixture(countdown=4, arithmetic=2))], seed=0)
    train.train(
        network,
        data,
        out,
        steps=steps,
        peak=1e-2,
        weights=LossWeights(results=0.5),
        stop_at=until,
    )
    return network


@pytest.mark.slow
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(
    tiny: Tiny, tmp_path: Path
) -> None:
    whole = _run(tiny, tmp_path / "whole", 6)
    _run(tiny, tmp_path / "stopped", 6, until=3)
    resumed = _run(tiny, tmp_path / "stopped", 6)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_training_lowers_token_and_verdict_losses(tiny: Tiny, tmp_path: Path) -> None:
    _run(tiny, tmp_path, 51)
    first, *_, last = (json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines())
    assert last["tokens0"] < first["tokens0"] - 1
    assert last["verdicts0"] < first["verdicts0"]


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [train.learning_rate(step, 1000, 1e-3) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(2e-5, rel=0.01)


def test_reset_top_layers_changes_the_top_layers_and_the_verdict_head_only() -> None:
    network = _network()
    before = {name: x.clone() for name, x in network.state_dict().items()}
    train.reset_top_layers(network)
    changed = {name for name, x in network.state_dict().items() if not torch.equal(x, before[name])}
    assert "verdict.weight" in changed
    assert {name.split(".")[3] for name in changed if "layers" in name} == {"1", "2"}


def test_an_exported_verdict_head_scores_as_the_trained_one(tiny: Tiny, tmp_path: Path) -> None:
    network = _network().eval()
    tiny.tokenizer.save_pretrained(tmp_path)
    export.prm(tmp_path, tmp_path, network.model, network.verdict)
    prm = ProcessRewardModel.from_pretrained(tmp_path / "model")
    ids = torch.tensor([tiny.tokenizer("Make 12 from 1 2 3 4.\n1 + 2 = 3\n")["input_ids"]])
    with torch.no_grad():
        hidden = network.model.model(ids).last_hidden_state[0, -1]
        expected = network.verdict(hidden).softmax(-1)[RIGHT]
    (scores,) = prm.score(["Make 12 from 1 2 3 4.\n"], ["1 + 2 = 3"])
    # Weights are on disk as float16, each rounded by up to 2 ** -11 of itself.
    torch.testing.assert_close(scores[0], expected, rtol=2**-9, atol=0)
    assert prm.model.dtype == torch.float32
