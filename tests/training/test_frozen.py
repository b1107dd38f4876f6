"""Heads on a frozen body: the body is read once, and the saved model is body and head."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification

from reason_decode import OutcomeRewardModel, ProcessRewardModel, RankingModel, tiny
from reason_decode.models.layers import keep_layers
from reason_decode.training import (
    LabelledSolution,
    ORMConfig,
    PRMConfig,
    RankerConfig,
    train_orm,
    train_prm,
    train_ranker,
)
from reason_decode.training.examples import collate, step_examples
from reason_decode.training.losses import class_loss
from tests.tolerance import assert_close, roundings

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own
BASE = tiny.WEIGHTS / "base"
FROZEN: dict[str, Any] = {"freeze": True, "batch_size": 4, "warmup_steps": 0}


def solution(a: int, b: int, right: bool) -> LabelledSolution:
    """A step of a sum that is right, then one that is or is not."""
    last = a + b + 1 + (0 if right else 5)
    steps = (f"{a} + {b} = {a + b}", f"{a + b} + 1 = {last}")
    return LabelledSolution(f"{a} + {b} + 1 =\n", steps, (1, 1 if right else -1), correct=right)


SOLUTIONS = [solution(a, b, right) for a in range(1, 5) for b in (2, 3) for right in (True, False)]


def tokenizer() -> Any:
    return tiny.load().tokenizer


def scores(model: Any) -> list[float]:
    found = model.score([x.prompt for x in SOLUTIONS], [list(x.steps) for x in SOLUTIONS])
    return [float(row[-1]) for row in found]


def share_right(model: Any) -> float:
    hits = [(p > 0.5) == x.correct for p, x in zip(scores(model), SOLUTIONS, strict=True)]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("layer", [None, 1])
def test_the_saved_prm_is_the_body_as_it_was_and_a_head_that_has_learned(
    tmp_path: Path, layer: int | None
):
    config = PRMConfig(layer=layer, **FROZEN)
    result = train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config, held_out=SOLUTIONS)
    base, saved = AutoModel.from_pretrained(BASE), AutoModel.from_pretrained(tmp_path)
    assert saved.config.num_hidden_layers == (layer or base.config.num_hidden_layers)
    whole = base.state_dict()
    assert all(torch.equal(x, whole[name]) for name, x in saved.state_dict().items())
    assert share_right(ProcessRewardModel.from_pretrained(tmp_path)) >= 0.6
    # What was measured on kept states is what the model that loads computes.
    prm = ProcessRewardModel.from_pretrained(tmp_path)
    batch = collate(list(step_examples(SOLUTIONS, prm, {-1: 0, 1: 1})), 0)
    labels = batch.pop("labels")
    with torch.no_grad():
        expected = class_loss(prm.model(**batch), labels)
    assert_close(result["held_out_loss"], float(expected), terms=roundings(prm.model))


def test_the_states_are_those_of_the_layer_after_the_last_norm(tmp_path: Path):
    whole = AutoModelForTokenClassification.from_pretrained(BASE).eval()
    cut = AutoModelForTokenClassification.from_pretrained(BASE).eval()
    keep_layers(cut, 2)
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        inner = whole.base_model(ids, output_hidden_states=True).hidden_states[2]
        found = cut.base_model(ids).last_hidden_state
        assert_close(found, whole.base_model.norm(inner), terms=roundings(cut))


@pytest.mark.slow
def test_an_orm_and_a_ranker_learn_from_kept_states(tmp_path: Path):
    orm, ranked = tmp_path / "orm", tmp_path / "ranker"
    train_orm(BASE, tokenizer(), SOLUTIONS, orm, ORMConfig(**FROZEN))
    assert share_right(OutcomeRewardModel.from_pretrained(orm)) >= 0.6
    # Solutions of a pair have one prompt, as the samples of a problem have.
    right, wrong = ([x for x in SOLUTIONS if x.correct == side] for side in (True, False))
    config = RankerConfig(**FROZEN)
    result = train_ranker(BASE, tokenizer(), right, wrong, ranked, config, held_out=(right, wrong))
    assert result["pair_accuracy"] >= 0.6
    assert len(scores(RankingModel.from_pretrained(ranked))) == len(SOLUTIONS)


@pytest.mark.slow
def test_a_body_reads_each_example_once_over_all_runs(tmp_path: Path, monkeypatch):
    read: list[int] = []
    forward = torch.nn.Embedding.forward

    def counted(self: Any, ids: Any) -> Any:
        read.append(ids.numel())
        return forward(self, ids)

    monkeypatch.setattr(torch.nn.Embedding, "forward", counted)
    config = PRMConfig(num_train_epochs=3, **FROZEN)
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config)
    once = len(read)
    assert once == 1  # 16 short examples are one batch, in three epochs
    # A run that was killed after it had read them does not read them again.
    (tmp_path / "checkpoints" / "finished.json").unlink()
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config)
    assert len(read) == once
    # States that a full disk has cut off are read again.
    (tmp_path / "checkpoints" / "finished.json").unlink()
    (file,) = (tmp_path / "checkpoints" / "states-0").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config)
    assert len(read) == 2 * once


@pytest.mark.slow
def test_another_layer_in_the_same_folder_is_refused_and_restarts_with_states_of_its_own(
    tmp_path: Path,
):
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, PRMConfig(layer=1, **FROZEN))
    with pytest.raises(ValueError, match="layer: 1, now 2"):
        train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, PRMConfig(layer=2, **FROZEN))
    again = PRMConfig(layer=2, restart=True, **FROZEN)
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, again, held_out=SOLUTIONS)
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 2


def test_what_a_frozen_body_cannot_have_is_refused(tmp_path: Path):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"layer": 2}, "got layer=2 without freeze; set freeze"),
        ({"freeze": True, "lora_rank": 4}, "got freeze with lora_rank=4"),
        ({"freeze": True, "gradient_checkpointing": True}, "gradient_checkpointing=True"),
        ({"freeze": True, "head": "math-shepherd"}, "got freeze with head='math-shepherd'"),
    ]
    for options, problem in cases:
        with pytest.raises(ValueError, match=problem):
            PRMConfig(**options)
    with pytest.raises(ValueError, match="got layer=99 for .* allowed are 1 to"):
        train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, PRMConfig(freeze=True, layer=99))
