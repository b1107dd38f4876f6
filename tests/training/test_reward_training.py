import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification

from reason_decode import OutcomeRewardModel, ProcessRewardModel, tiny
from reason_decode.cli import main
from reason_decode.scorers.loading import load_scorer
from reason_decode.scorers.prm_formats import MathShepherd
from reason_decode.training import (
    LabelledSolution,
    ORMConfig,
    PRMConfig,
    TrainingConfig,
    hold_out,
    train_orm,
    train_prm,
)
from reason_decode.training.examples import IGNORE, Example, collate, step_examples
from reason_decode.training.losses import class_loss, tag_loss, take_soft
from tests.tolerance import assert_close

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
BASE = tiny.WEIGHTS / "base"
FAST: dict[str, Any] = {
    **{"num_train_epochs": 15, "batch_size": 4, "learning_rate": 3e-3, "warmup_steps": 0}
}


def solution(a: int, b: int, right: bool) -> LabelledSolution:
    """A step of a sum that is right, then one that is or is not."""
    last = a + b + 1 + (0 if right else 5)
    steps = (f"{a} + {b} = {a + b}", f"{a + b} + 1 = {last}")
    return LabelledSolution(f"{a} + {b} + 1 =\n", steps, (1, 1 if right else -1), correct=right)


SOLUTIONS = [solution(a, b, (a + b) % 2 == 0) for a in range(1, 5) for b in range(1, 4)]


def tokenizer() -> Any:
    return tiny.load().tokenizer


def prm_agrees(folder: Path, **options: Any) -> float:
    """The share of all labels that the saved model's scores are on the side of."""
    scores = ProcessRewardModel.from_pretrained(folder, **options).score(
        [x.prompt for x in SOLUTIONS], [list(x.steps) for x in SOLUTIONS]
    )
    labels = torch.tensor([label for x in SOLUTIONS for label in x.labels])
    return float(((torch.cat(list(scores)) > 0.5) == (labels > 0)).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 8])
def test_a_prm_learns_its_labels_and_loads(tmp_path, lora):
    if lora:
        pytest.importorskip("peft", reason="LoRA needs peft")
    config = PRMConfig(lora_rank=lora, **FAST)
    result = train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config)
    assert result["examples"] == 12 and result["labels"] == 24 and result["loss"] < 0.5
    assert prm_agrees(tmp_path) > 0.9
    # In plain transformers too, with nothing of peft left.
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert plain.config.id2label == {0: "wrong", 1: "right"}
    assert not (tmp_path / "adapter_config.json").exists()


@pytest.mark.slow
def test_a_model_that_answers_at_tags_loads_without_a_word(tmp_path):
    """``--head math-shepherd`` once wrote a model that no command accepted."""
    config = PRMConfig(head="math-shepherd", **FAST)
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path, config)
    assert type(ProcessRewardModel.from_pretrained(tmp_path)) is MathShepherd
    assert type(load_scorer(str(tmp_path))) is MathShepherd
    assert prm_agrees(tmp_path) > 0.9


@pytest.mark.slow
def test_an_orm_learns_its_labels_and_loads(tmp_path):
    train_orm(BASE, tokenizer(), SOLUTIONS, tmp_path, ORMConfig(**FAST))
    orm = OutcomeRewardModel.from_pretrained(tmp_path)
    scores = orm.score([x.prompt for x in SOLUTIONS], [list(x.steps) for x in SOLUTIONS])
    right = [bool(score > 0.5) == x.correct for score, x in zip(scores, SOLUTIONS, strict=True)]
    assert sum(right) >= 11


@pytest.mark.slow
def test_a_prm_of_three_labels_counts_neutral_as_right(tmp_path):
    rated = [LabelledSolution(x.prompt, x.steps, (0, x.labels[1]), correct=None) for x in SOLUTIONS]
    train_prm(BASE, tokenizer(), rated, tmp_path, PRMConfig(num_labels=3, **FAST))
    assert prm_agrees(tmp_path) > 0.9


def test_rejects_invalid_arguments_before_training(tmp_path):
    cases: list[tuple[list[LabelledSolution], dict[str, Any], str]] = [
        (SOLUTIONS, {"head": "x"}, "allowed are 'token-classification', 'math-shepherd'"),
        (SOLUTIONS, {"head": "math-shepherd", "num_labels": 3}, "the tokens of two labels"),
        (
            [LabelledSolution("a", ("b",), (0,))],
            {},
            r"got labels \[0\]; allowed are \[-1, 1\] and None",
        ),
        ([LabelledSolution("a", ("b",), (None,))], {}, "got 0 examples"),
        (SOLUTIONS, {"lora_rank": 0}, "lora_rank=0; it must be positive"),
        (SOLUTIONS, {"max_length": 3}, "none of at most 3 tokens"),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError, match=message):
            train_prm(BASE, tokenizer(), given, tmp_path, PRMConfig(**options))
    with pytest.raises(ValueError, match="got num_train_epochs=0; it must be positive"):
        TrainingConfig(num_train_epochs=0)


def weights(folder: Path) -> Sequence[torch.Tensor]:
    return list(AutoModelForTokenClassification.from_pretrained(folder).state_dict().values())


def assert_learnt_alike(one: Path, other: Path, far: float) -> None:
    """All weights together are apart by less than 1 % of as far as the updates move them.

    An update of Adam's moves a weight by about the learning rate however small its gradient is, so
    one whose gradient is nothing but roundings may go anywhere. Those are few, on every CPU others.
    """
    a, b = (torch.cat([x.flatten() for x in weights(folder)]) for folder in (one, other))
    assert float((a - b).square().mean().sqrt()) < 0.01 * far


@pytest.mark.slow
@pytest.mark.parametrize("last", [5, 8])
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, monkeypatch, last):
    """A run stopped in its second epoch resumed in the order of the first."""
    config = PRMConfig(num_train_epochs=2, batch_size=3, learning_rate=1e-3, save_steps=3)
    train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path / "whole", config)

    class Killed(Exception):
        pass

    calls = []

    def dies(output, labels, num_items_in_batch=None):
        calls.append(1)
        if len(calls) == last:
            raise Killed
        return class_loss(output, labels, num_items_in_batch)

    with monkeypatch.context() as broken:
        broken.setattr("reason_decode.training.prm.class_loss", dies)
        with pytest.raises(Killed):
            train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path / "cut", config)
    result = train_prm(BASE, tokenizer(), SOLUTIONS, tmp_path / "cut", config)
    assert result["steps"] == 8
    assert_learnt_alike(tmp_path / "cut", tmp_path / "whole", far=8 * config.peak)
    log = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 8


@pytest.mark.slow
def test_min_steps_adds_epochs(tmp_path):
    for minimum, steps in ((0, 3), (2, 3), (7, 7)):
        config = PRMConfig(batch_size=2, gradient_accumulation_steps=2, min_steps=minimum)
        out = tmp_path / str(minimum)
        assert train_prm(BASE, tokenizer(), SOLUTIONS, out, config)["steps"] == steps


def test_accumulated_batches_learn_as_one_batch_does(tmp_path):
    """The mean is over all labels of a step: else a batch with few labels would count as much."""
    uneven = [*SOLUTIONS[:2], LabelledSolution("1 + 1 =\n", ("1 + 1 = 2",), (1,)), SOLUTIONS[3]]
    for name, batch, accumulate in (("one", 4, 1), ("two", 2, 2)):
        config = PRMConfig(
            num_train_epochs=2,
            batch_size=batch,
            gradient_accumulation_steps=accumulate,
            learning_rate=1e-3,
            warmup_steps=0,
        )
        train_prm(BASE, tokenizer(), uneven, tmp_path / name, config)
    assert_learnt_alike(tmp_path / "one", tmp_path / "two", far=2 * 1e-3)


def test_examples_end_at_the_last_label_and_are_padded_on_the_right():
    prm = tiny.load().prm
    cut = LabelledSolution("1 + 1 =\n", ("a", "b", "c"), (1, -1, None))
    (example,) = step_examples([cut], prm, {-1: 0, 1: 1})
    assert example.labels == [1, 0] and example.positions[-1] == len(example.ids) - 1
    assert not list(step_examples([LabelledSolution("p", ("a",), (None,))], prm, {1: 1}))
    batch = collate([example, Example([5, 6], [1], [1])], pad=0)
    assert batch["labels"].ne(IGNORE).sum() == 3
    assert batch["input_ids"][1].tolist()[:3] == [5, 6, 0] and batch["attention_mask"][1].sum() == 2


def test_prompts_are_held_out_as_a_whole_and_the_same_in_every_run():
    twice = [*SOLUTIONS, *SOLUTIONS]
    kept, held = hold_out(twice, 0.3)
    assert kept and held and len(kept) + len(held) == len(twice)
    assert not {x.prompt for x in kept} & {x.prompt for x in held}
    assert hold_out(reversed(twice), 0.3)[1] == held[::-1]
    with pytest.raises(ValueError, match="a share of 1"):
        hold_out(SOLUTIONS, 1)


@pytest.mark.numeric
def test_soft_labels_are_learned_by_the_cross_entropy_with_both_classes():
    examples = [Example([3, 4, 5], [1, 2], [1, 0], soft=(0.75, 0.25)), Example([6, 7], [1], [1])]
    batch = collate(examples, pad=0)
    soft = take_soft(batch)
    assert "soft" not in batch and soft is not None
    logits = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    logp = logits.log_softmax(dim=-1)
    expected = -(
        (0.25 * logp[0, 1, 0] + 0.75 * logp[0, 1, 1])
        + (0.75 * logp[0, 2, 0] + 0.25 * logp[0, 2, 1])
        + logp[1, 1, 1]
    )
    loss = class_loss(SimpleNamespace(logits=logits), batch["labels"], side_inputs=soft)
    assert_close(loss, expected / 3, terms=8)
    at_tags = tag_loss([0, 1])(SimpleNamespace(logits=logits), batch["labels"], side_inputs=soft)
    assert_close(at_tags, loss, terms=8)


@pytest.mark.slow
def test_a_prm_is_trained_on_soft_labels_unless_told_otherwise(tmp_path):
    soft = [replace(x, soft=(0.9, 0.6)) for x in SOLUTIONS[:2]]
    once = {**FAST, "num_train_epochs": 5, "batch_size": 1}  # the loss is logged every 10 steps
    cases: list[tuple[str, list[LabelledSolution], dict[str, Any]]] = [
        ("soft", soft, {}),
        ("hard", soft, {"soft_labels": False}),
        ("none", SOLUTIONS[:2], {}),
    ]
    losses = {
        name: train_prm(BASE, tokenizer(), given, tmp_path / name, PRMConfig(**once, **more))
        for name, given, more in cases
    }
    assert losses["hard"]["loss"] == losses["none"]["loss"] != losses["soft"]["loss"]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("prm", {"question": "1 + 2?", "answer": "3"}, "none of the 1 solutions has a label on a"),
        ("orm", {"prompt": "1 + 2?", "solution": "3"}, "none of the 1 solutions has a reference"),
    ],
)
def test_rows_without_labels_are_named_as_the_cause(tmp_path, capsys, kind, row, message):
    """It said "got 0 examples and none of at most 4096 tokens", never that labels are missing."""
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    argv = ["train", kind, "--input", str(tmp_path / "x.jsonl"), "--output", str(tmp_path / "out")]
    assert main([*argv, "--hold-out", "0"]) == 2
    assert message in capsys.readouterr().err
