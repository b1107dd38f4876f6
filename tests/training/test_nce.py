import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    LabelledSolution,
    TrainingConfig,
    train_nat,
    train_nce,
    train_negative,
)
from reason_decode.training.examples import IGNORE
from reason_decode.training.lora import lora_config
from reason_decode.training.losses import class_loss, token_loss
from reason_decode.training.nce import Told, calibration, distilled_loss, mixed_loss, teach
from tests.nat_models import filled, with_nat
from tests.random_models import save_llama
from tests.tolerance import assert_close, largest, roundings, tolerance

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
FAST = TrainingConfig(epochs=2, batch=4, learning_rate=3e-3)
RIGHT = [LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 1}",), (1,)) for a in range(8)]
WRONG = [LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 3}",), (-1,)) for a in range(8)]


def random_logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels_of(rows: int, width: int) -> torch.Tensor:
    labels = torch.arange(rows * width).reshape(rows, width) % 7
    return labels.masked_fill(torch.arange(width) < torch.arange(1, rows + 1)[:, None], IGNORE)


@pytest.mark.numeric
def test_beta_is_as_by_the_formula_and_in_0_to_1():
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
def test_the_mixed_loss_and_its_gradient_are_autograd_s(monkeypatch, block):
    monkeypatch.setattr("reason_decode.training.nce._BLOCK", block)
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
def test_the_loss_is_as_by_the_formula_and_adds_up_over_batches():
    logits, labels = random_logits(3, 6, 8), labels_of(3, 6)
    learnt = labels != IGNORE
    told = Told(random_logits(int(learnt.sum()), 8, seed=1), torch.rand(int(learnt.sum())))
    logp = logits[learnt].log_softmax(-1)
    hard = F.nll_loss(logp, labels[learnt])
    soft = (told.weights[:, None] * -told.logits.softmax(-1) * logp).sum(-1).mean()
    whole = distilled_loss(SimpleNamespace(logits=logits), labels, told=told, alpha=0.3)
    terms, scale = int(learnt.sum()) + 8, largest(logits) + largest(told.logits)
    assert_close(whole, 0.3 * hard + 0.7 * soft, terms=terms, scale=scale)
    count, parts, start = learnt.sum(), [], 0
    for row in range(3):
        end = start + int(learnt[row].sum())
        part = Told(told.logits[start:end], told.weights[start:end])
        output = SimpleNamespace(logits=logits[row : row + 1])
        parts.append(distilled_loss(output, labels[row : row + 1], count, told=part, alpha=0.3))
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
def test_teachers_are_nat_and_the_negative_and_leave_no_trace(tiny_llama):
    model, given = student(tiny_llama), batch()
    learns = [x.requires_grad for x in model.parameters()]
    told = {weigh: teach(model, given, weigh=weigh) for weigh in ("sequence", "token", "none")}
    assert model.training and model.active_adapter == "default"
    assert learns == [x.requires_grad for x in model.parameters()]
    learnt = given["labels"] != IGNORE
    nat = with_nat(tiny_llama)
    logits = nat(given["input_ids"]).logits[learnt]
    nat.set_adapter("negative")
    negative = nat(given["input_ids"]).logits[learnt]
    for weigh, rows in (("sequence", learnt.nonzero()[:, 0]), ("token", None)):
        assert_close(told[weigh].logits, logits, terms=roundings(nat))
        expected = 0.5 + calibration(logits, negative, rows)
        assert_close(told[weigh].weights, expected, terms=roundings(nat))
    assert told["sequence"].weights.unique().numel() == 2
    assert (told["none"].weights == 1).all()


@pytest.mark.numeric
@pytest.mark.parametrize("reentrant", [False, True])
def test_activations_may_be_recomputed_and_only_the_student_learns(tiny_llama, reentrant):
    gradients = []
    for recompute in (False, True):
        model, given = student(tiny_llama), batch()
        if recompute:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        told = teach(model, given)
        labels = given.pop("labels")
        distilled_loss(model(**given), labels, told=told).backward()
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
    folder, words = tmp_path_factory.mktemp("trained"), tiny.load().tokenizer
    told = train_negative(base, words, WRONG, folder / "negative", lora=2, recipe=FAST)
    assert told["examples"] == 8 and told["updates"] == 4
    how: dict[str, Any] = {"lora": 2, "unit": 4, "recipe": FAST, "held_out": RIGHT[:2]}
    told = train_nat(base, words, RIGHT, folder / "nat", negative=folder / "negative", **how)
    layers = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    # LoRA of rank 2; query; key, inner and outer.
    assert told["trained"] == 2 * sum((2 + 4) * i + (2 + 3 * 4) * o for i, o in layers)
    assert told["held_out_loss"] > 0
    return folder / "nat"


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 27).reshape(2, 12)
    with torch.no_grad():
        return model.eval()(ids).logits


def test_what_was_trained_is_what_is_loaded(base, nat):
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


@pytest.mark.parametrize("weigh", ["sequence", "token", "none"])
def test_a_student_is_plain_lora_that_merges(base, nat, tmp_path, weigh):
    how: dict[str, Any] = {"nat": nat, "weigh": weigh, "lora": 2}
    recipe = replace(FAST, recompute=weigh == "token")
    words = tiny.load().tokenizer
    told = train_nce(base, words, RIGHT, tmp_path, recipe=recipe, held_out=RIGHT[:2], **how)
    assert told["held_out_loss"] > 0 and told["updates"] == 4
    assert not (tmp_path / "nat").exists() and not (tmp_path / "negative").exists()
    student = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path)
    found = logits(student)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), found)
    assert_close(logits(student.merge_and_unload()), found, terms=roundings(student))
    if weigh == "none":
        train_nce(base, words, RIGHT, tmp_path / "whole", recipe=recipe, fold=True, **how)
        assert not (tmp_path / "whole" / "adapter_config.json").exists()
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
        assert logits(merged).shape == found.shape


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(base, nat, tmp_path, monkeypatch):
    words, recipe = tiny.load().tokenizer, replace(FAST, save_steps=2)
    how: dict[str, Any] = {"nat": nat, "lora": 2, "recipe": recipe}
    train_nce(base, words, RIGHT, tmp_path / "whole", **how)

    class Killed(Exception):
        pass

    tells = []

    def dies(*args, **kwargs):
        tells.append(1)
        if len(tells) == 4:
            raise Killed
        return teach(*args, **kwargs)

    monkeypatch.setattr("reason_decode.training.nce.teach", dies)
    with pytest.raises(Killed):
        train_nce(base, words, RIGHT, tmp_path / "cut", **how)
    train_nce(base, words, RIGHT, tmp_path / "cut", **how)
    assert len(tells) == 4 + 2
    ends = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "cut")]
    assert_close(logits(ends[0]), logits(ends[1]), terms=roundings(ends[0]))


def test_accumulated_batches_are_one(base, nat, tmp_path):
    """Two batches of four are one of eight: prompts, and so lengths of rows, differ nowhere."""
    found = []
    for batch, accumulate in ((8, 1), (4, 2)):
        recipe = replace(FAST, epochs=1, batch=batch, accumulate=accumulate)
        out = tmp_path / str(batch)
        how: dict[str, Any] = {"nat": nat, "lora": 2, "dropout": 0.0, "recipe": recipe}
        assert train_nce(base, tiny.load().tokenizer, RIGHT, out, **how)["updates"] == 1
        model = AutoModelForCausalLM.from_pretrained(out)
        found.append(logits(model))
    assert_close(*found, terms=roundings(model))


def test_what_cannot_be_learnt_is_said_before_any_work(base, nat, tmp_path):
    words = tiny.load().tokenizer
    with pytest.raises(ValueError, match="weigh='x', alpha=0.5; allowed are sequence, token, none"):
        train_nce(base, words, RIGHT, tmp_path, nat=nat, weigh="x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(FileNotFoundError, match="no NAT adapter in"):
        train_nce(base, words, RIGHT, tmp_path, nat=nat.parent / "negative")
    with pytest.raises(ValueError, match="got 0 examples"):
        train_nat(base, words, [], tmp_path, negative=nat.parent / "negative")
    with pytest.raises(ValueError, match="a LoRA rank of 0"):
        train_negative(base, words, WRONG, tmp_path, lora=0)
