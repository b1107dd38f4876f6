import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from reason_decode.scorers import ProcessRewardModel
from reason_decode.tiny import Tiny, export, train
from reason_decode.tiny.batch import RIGHT
from reason_decode.tiny.stream import Mixture, Stream


def _learner() -> train.Learner:
    torch.manual_seed(0)
    config = train.config(327)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 16, 16, 3
    return train.Learner(LlamaForCausalLM(config))


def _run(tiny: Tiny, out: Path, steps: int, until: int | None = None) -> train.Learner:
    """Train for ``steps``; with ``until``, as if the run were killed there."""
    out.mkdir(exist_ok=True)
    learner = _learner()
    data = Stream(tiny.tokenizer, [(0, Mixture(countdown=4, arithmetic=2))], seed=0)
    train.train(
        learner,
        data,
        out,
        steps=steps,
        peak=1e-2,
        weights=train.Weights(results=0.5),
        stop_at=until,
    )
    return learner


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tiny: Tiny, tmp_path: Path) -> None:
    whole = _run(tiny, tmp_path / "whole", 6)
    _run(tiny, tmp_path / "stopped", 6, until=3)
    resumed = _run(tiny, tmp_path / "stopped", 6)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_both_losses(tiny: Tiny, tmp_path: Path) -> None:
    _run(tiny, tmp_path, 51)
    first, *_, last = (json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines())
    assert last["tokens0"] < first["tokens0"] - 1
    assert last["verdicts0"] < first["verdicts0"]


def test_the_rate_warms_up_and_decays() -> None:
    rates = [train.learning_rate(step, 1000, 1e-3) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(2e-5, rel=0.01)


def test_a_renewed_top_leaves_what_is_below() -> None:
    learner = _learner()
    before = {name: x.clone() for name, x in learner.state_dict().items()}
    train.renew_top(learner)
    changed = {name for name, x in learner.state_dict().items() if not torch.equal(x, before[name])}
    assert "verdict.weight" in changed
    assert {name.split(".")[3] for name in changed if "layers" in name} == {"1", "2"}


def test_exported_heads_judge_as_they_were_trained(tiny: Tiny, tmp_path: Path) -> None:
    learner = _learner().eval()
    tiny.tokenizer.save_pretrained(tmp_path)
    export.prm(tmp_path, tmp_path, learner.model, learner.verdict)
    prm = ProcessRewardModel.from_pretrained(tmp_path / "model")
    ids = torch.tensor([tiny.tokenizer("Make 12 from 1 2 3 4.\n1 + 2 = 3\n")["input_ids"]])
    with torch.no_grad():
        hidden = learner.model.model(ids).last_hidden_state[0, -1]
        expected = learner.verdict(hidden).softmax(-1)[RIGHT]
    (scores,) = prm.score(["Make 12 from 1 2 3 4.\n"], ["1 + 2 = 3"])
    # Weights are on disk as float16, each rounded by up to 2 ** -11 of itself.
    torch.testing.assert_close(scores[0], expected, rtol=2**-9, atol=0)
    assert prm.model.dtype == torch.float32
