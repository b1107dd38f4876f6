import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

pytest.importorskip("peft", reason="NCE needs peft")
pytest.importorskip("accelerate", reason="training needs accelerate")
from peft import AutoPeftModelForCausalLM, PeftModel

from reason_decode import tiny
from reason_decode.adapters import load_nat
from reason_decode.training import (
    CalibrationLevel,
    LabelledSolution,
    NATConfig,
    NCEConfig,
    NegativeConfig,
    train_nat,
    train_nce,
    train_negative,
)
from reason_decode.training.distillation import calibration, mixed_loss
from reason_decode.training.examples import IGNORE
from reason_decode.training.lora import lora_config
from reason_decode.training.losses import class_loss, token_loss
from reason_decode.training.nce import TeacherOutputs, distillation_loss, teacher_outputs
from tests.nat_models import filled, with_nat
from tests.random_models import save_llama
from tests.tolerance import assert_close, largest, roundings, tolerance

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
FAST: dict[str, Any] = {
    **{"num_train_epochs": 2, "batch_size": 4, "learning_rate": 3e-3, "lora_rank": 2}
}
RIGHT = [LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 1}",), (1,)) for a in range(8)]
WRONG = [LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 3}",), (-1,)) for a in range(8)]


def random_logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(rows: int, width: int) -> torch.Tensor:
    labels = torch.arange(rows * width).reshape(rows, width) % 7
    return labels.masked_fill(torch.arange(width) < torch.arange(1, rows + 1)[:, None], IGNORE)


@pytest.mark.numeric
def test_beta_is_the_formula_and_in_0_to_1():
    nat, negative = random_logits(5, 9), random_logits(5, 9, seed=1)
    rows = torch.tensor([0, 0, 2, 2, 2])
    # Written out: KL(negative || nat) a place, its mean over a sequence, tanh.
    p, q = negative.softmax(-1), nat.softmax(-1)
    divergence = (p * (p / q).log()).sum(-1)
    means = torch.stack([divergence[:2].mean()] * 2 + [divergence[2:].mean()] * 3)
    scale = largest(nat) + largest(negative)
    assert_close(calibration(nat, negative, rows), means.tanh(), terms=9, scale=scale)
    assert_close(calibration(nat, negative), divergence.tanh(), terms=9, scale=scale)
    same = calibration(nat, nat + 1, rows)
    assert (same >= 0).all() and (same < tolerance(9, scale)).all()
    far = calibration(100 * nat, -100 * nat.bfloat16(), rows)
    assert ((far > 0.999) & (far <= 1)).all()
    ruled_out = negative.index_fill(1, torch.tensor([3]), -math.inf)
    assert calibration(nat, ruled_out).isfinite().all()
    assert calibration(nat[:0], negative[:0], rows[:0]).shape == (0,)


@pytest.mark.numeric
@pytest.mark.parametrize("block", [1, 1 << 22])
def test_the_mixed_loss_has_the_gradient_of_autograd(monkeypatch, block):
    monkeypatch.setattr("reason_decode.training.distillation._BLOCK", block)
    logits, teacher, labels = random_logits(2, 5, 11), random_logits(7, 11, seed=1), labels_of(2, 5)
    learnt, soft, weights = labels != IGNORE, torch.rand(7), torch.rand(7)
    leaf, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = mixed_loss(leaf, labels, teacher, 0.3, soft)
    logp = plain[learnt].log_softmax(-1)
    own = -logp.gather(1, labels[learnt][:, None])[:, 0]
    expected = 0.3 * own - soft * (teacher.softmax(-1) * logp).sum(-1)
    scale = largest(logits) + largest(teacher)
    assert_close(found, expected, terms=11, scale=scale)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert plain.grad is not None
    # Probabilities err by as much of themselves as their logits do in all.
    assert_close(leaf.grad, plain.grad, terms=11, scale=scale * largest(plain.grad))


@pytest.mark.numeric
def test_the_loss_is_the_formula_and_adds_up_over_batches():
    logits, labels = random_logits(3, 6, 8), labels_of(3, 6)
    learnt = labels != IGNORE
    teachers = TeacherOutputs(
        random_logits(int(learnt.sum()), 8, seed=1), torch.rand(int(learnt.sum()))
    )
    logp = logits[learnt].log_softmax(-1)
    hard = F.nll_loss(logp, labels[learnt])
    soft = (teachers.weights[:, None] * -teachers.logits.softmax(-1) * logp).sum(-1).mean()
    output = SimpleNamespace(logits=logits)
    whole = distillation_loss(output, labels, side_inputs=teachers, alpha=0.3)
    terms, scale = int(learnt.sum()) + 8, largest(logits) + largest(teachers.logits)
    assert_close(whole, 0.3 * hard + 0.7 * soft, terms=terms, scale=scale)
    count, parts, start = learnt.sum(), [], 0
    for row in range(3):
        end = start + int(learnt[row].sum())
        part = TeacherOutputs(teachers.logits[start:end], teachers.weights[start:end])
        output, own = SimpleNamespace(logits=logits[row : row + 1]), labels[row : row + 1]
        parts.append(distillation_loss(output, own, count, side_inputs=part, alpha=0.3))
        start = end
    assert_close(torch.stack(parts).sum(), whole, terms=terms, scale=scale)
    output = SimpleNamespace(logits=logits)
    found, expected = token_loss(output, labels), class_loss(output, labels)
    assert_close(found, expected, terms=terms, scale=scale)


def student(model: Any, **options: Any) -> Any:
    model = with_nat(model, **options)
    model.add_adapter("default", lora_config(2))
    model.set_adapter("default")
    return filled(model, "default", 3).train()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.arange(3, 27).reshape(2, 12)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels_of(2, 12)}


@pytest.mark.numeric
def test_teachers_are_nat_and_negative_and_the_student_is_restored(tiny_llama):
    model, given = student(tiny_llama), batch()
    learns = [x.requires_grad for x in model.parameters()]
    found = {x: teacher_outputs(model, given, calibrate_by=x) for x in get_args(CalibrationLevel)}
    assert model.training and model.active_adapter == "default"
    assert learns == [x.requires_grad for x in model.parameters()]
    learnt = given["labels"] != IGNORE
    nat = with_nat(tiny_llama)
    logits = nat(given["input_ids"]).logits[learnt]
    nat.set_adapter("negative")
    negative = nat(given["input_ids"]).logits[learnt]
    for level, rows in (("sequence", learnt.nonzero()[:, 0]), ("token", None)):
        assert_close(found[level].logits, logits, terms=roundings(nat))
        expected = 0.5 + calibration(logits, negative, rows)
        assert_close(found[level].weights, expected, terms=roundings(nat))
    assert found["sequence"].weights.unique().numel() == 2
    assert (found["none"].weights == 1).all()


@pytest.mark.numeric
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_works_and_only_the_student_learns(tiny_llama, reentrant):
    gradients = []
    for recompute in (False, True):
        model, given = student(tiny_llama), batch()
        if recompute:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        teachers = teacher_outputs(model, given)
        labels = given.pop("labels")
        distillation_loss(model(**given), labels, side_inputs=teachers).backward()
        gradients.append({n: x.grad for n, x in model.named_parameters() if x.grad is not None})
    assert set(gradients[0]) == {n for n in gradients[0] if ".default." in n} and gradients[0]
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, terms=roundings(tiny_llama))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def nat(base, tmp_path_factory) -> Path:
    """A folder with what ``train_nat`` made of what ``train_negative`` made."""
    folder, tokenizer = tmp_path_factory.mktemp("trained"), tiny.load().tokenizer
    config = NegativeConfig(**FAST)
    result = train_negative(base, tokenizer, WRONG, folder / "negative", config)
    assert result["examples"] == 8 and result["steps"] == 4
    config = NATConfig(negative=str(folder / "negative"), gate_dim=4, **FAST)
    result = train_nat(base, tokenizer, RIGHT, folder / "nat", config, held_out=RIGHT[:2])
    layers = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    # LoRA of rank 2; query; key, inner and outer.
    assert result["trainable_parameters"] == 2 * sum(
        (2 + 4) * i + (2 + 3 * 4) * o for i, o in layers
    )
    assert result["held_out_loss"] > 0
    return folder / "nat"


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 27).reshape(2, 12)
    with torch.no_grad():
        return model.eval()(ids).logits


def test_trained_adapters_load(base, nat):
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(plain)
    whole = load_nat(plain, nat)
    assert not torch.allclose(logits(whole), before, atol=1e-4)
    # The negative adapter is the one that was trained before, and stock peft's.
    negative = AutoPeftModelForCausalLM.from_pretrained(nat.parent / "negative")
    whole.set_adapter("negative")
    assert torch.equal(logits(whole), logits(negative))
    # A checkpoint of the Trainer's can be loaded like the end.
    checkpoint = nat / "checkpoints" / "checkpoint-4"
    last = load_nat(AutoModelForCausalLM.from_pretrained(base), checkpoint)
    whole.set_adapter("nat")
    assert torch.equal(logits(last), logits(whole))


@pytest.mark.parametrize("level", get_args(CalibrationLevel))
def test_a_student_is_plain_lora_that_merges(base, nat, tmp_path, level):
    config = NCEConfig(
        nat=str(nat), calibrate_by=level, gradient_checkpointing=level == "token", **FAST
    )
    tokenizer = tiny.load().tokenizer
    result = train_nce(base, tokenizer, RIGHT, tmp_path, config, held_out=RIGHT[:2])
    assert result["held_out_loss"] > 0 and result["steps"] == 4
    assert not (tmp_path / "nat").exists() and not (tmp_path / "negative").exists()
    student = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path)
    found = logits(student)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), found)
    assert_close(logits(student.merge_and_unload()), found, terms=roundings(student))
    if level == "none":
        train_nce(base, tokenizer, RIGHT, tmp_path / "whole", replace(config, merge_lora=True))
        assert not (tmp_path / "whole" / "adapter_config.json").exists()
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
        assert logits(merged).shape == found.shape


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_weights(base, nat, tmp_path, monkeypatch):
    tokenizer, config = tiny.load().tokenizer, NCEConfig(nat=str(nat), save_steps=2, **FAST)
    train_nce(base, tokenizer, RIGHT, tmp_path / "whole", config)

    class Killed(Exception):
        pass

    calls = []

    def dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return teacher_outputs(*args, **kwargs)

    monkeypatch.setattr("reason_decode.training.nce.teacher_outputs", dies)
    with pytest.raises(Killed):
        train_nce(base, tokenizer, RIGHT, tmp_path / "cut", config)
    train_nce(base, tokenizer, RIGHT, tmp_path / "cut", config)
    assert len(calls) == 4 + 2
    ends = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "cut")]
    assert_close(logits(ends[0]), logits(ends[1]), terms=roundings(ends[0]))


def test_accumulated_batches_learn_as_one(base, nat, tmp_path):
    """Two batches of four are one of eight: prompts, and so lengths of rows, differ nowhere."""
    found = []
    for size, accumulated in ((8, 1), (4, 2)):
        config = NCEConfig(nat=str(nat), lora_dropout=0.0, **FAST)
        config = replace(config, num_train_epochs=1, batch_size=size)
        config = replace(config, gradient_accumulation_steps=accumulated)
        out = tmp_path / str(size)
        assert train_nce(base, tiny.load().tokenizer, RIGHT, out, config)["steps"] == 1
        model = AutoModelForCausalLM.from_pretrained(out)
        found.append(logits(model))
    assert_close(*found, terms=roundings(model))


def test_rejects_invalid_arguments_before_training(base, nat, tmp_path):
    tokenizer = tiny.load().tokenizer
    with pytest.raises(
        ValueError, match="calibrate_by='x'; allowed are 'sequence', 'token', 'none"
    ):
        NCEConfig(nat=str(nat), calibrate_by="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="alpha=1.5; it must be from 0 to 1"):
        NCEConfig(nat=str(nat), alpha=1.5)
    with pytest.raises(FileNotFoundError, match="no NAT adapter in"):
        train_nce(base, tokenizer, RIGHT, tmp_path, NCEConfig(nat=str(nat.parent / "negative")))
    with pytest.raises(ValueError, match="got 0 examples"):
        config = NATConfig(negative=str(nat.parent / "negative"))
        train_nat(base, tokenizer, [], tmp_path, config)
    with pytest.raises(ValueError, match="lora_rank=0; it must be positive"):
        NegativeConfig(lora_rank=0)
