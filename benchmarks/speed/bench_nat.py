"""Time of NAT beside two stock LoRA adapters, and memory of NCE beside plain distillation.

    python -m benchmarks.speed.bench_nat --preset 1b 7b

Time is that of a forward pass, the best of some rounds in which all methods take turns. Memory is
the peak of a training step beyond the model, and the same with the model. The models are random,
with the shapes of real ones and few layers: the cost of an adapter relative to its layer does not
depend on the number of layers.

Checked first, and an error stops the benchmark: NAT's layers equal the paper's closed form in
float64, and the losses and gradients of both distillations equal those of the written-out formula.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.speed.kernel_table import DTYPES, peak_memory, seconds_of
from reason_decode.adapters import add_nat, nat_layer
from reason_decode.adapters.nat_gate import GateWeights, LoraBranch
from reason_decode.io.console import table
from reason_decode.training.examples import IGNORE
from reason_decode.training.lora import lora_config
from reason_decode.training.nce import distillation_loss, teacher_outputs


class Shape(NamedTuple):
    """Sizes of a model and of a batch."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    rows: int
    tokens: int


PRESETS = {
    "tiny": Shape(32, 48, 1, 4, 2, 64, 2, 8),
    "small": Shape(1024, 2816, 2, 16, 4, 8192, 2, 128),
    "1b": Shape(2048, 8192, 2, 32, 8, 32000, 2, 128),
    "7b": Shape(4096, 11008, 1, 32, 32, 32000, 1, 256),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Check, measure and print every preset of the command line."""
    args = _arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    for preset in args.preset:
        for targets in args.targets:
            shape = PRESETS[preset]
            names = () if targets == "all-linear" else tuple(targets.split(","))
            torch.manual_seed(0)
            model = _model(shape, names, args)
            ids = torch.randint(3, shape.vocabulary, (shape.rows, shape.tokens)).to(args.device)
            _check_layers(model)
            print(f"\n{preset}: {shape.rows} x {shape.tokens} tokens, {args.dtype}, {targets}")
            print(table(_times(model, ids, args)))
            print(table(_memory(model, ids, args)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--preset", choices=PRESETS, nargs="+", default=["small"], help="(default: small)"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        default=["q_proj,v_proj", "all-linear"],
        help="layers with adapters, one table each (default: those of the paper, and all)",
    )
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters (default: 8)")
    parser.add_argument(
        "--gate-dim", type=int, default=128, help="width of NAT's gate (default: 128)"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    # Not MPS: the layers are checked in float64, which it lacks.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    return parser.parse_args(argv)


def _model(shape: Shape, targets: Any, args: argparse.Namespace) -> Any:
    """A random model with two stock adapters, NAT on the first, and a student; none is zero."""
    from peft import get_peft_model

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
    )
    # Any, since transformers' annotation of `to` accepts no device.
    base: Any = LlamaForCausalLM(config)
    base = base.to(args.device, DTYPES[args.dtype]).eval()
    model = get_peft_model(
        base, lora_config(args.rank, target_modules=targets), adapter_name="negative"
    )
    model.add_adapter("second", lora_config(args.rank, target_modules=targets))
    add_nat(model, rank=args.rank, gate_dim=args.gate_dim)
    model.add_adapter("student", lora_config(args.rank, target_modules=targets))
    with torch.no_grad():
        for name, x in model.named_parameters():
            if "lora_" in name:
                x.normal_(std=0.02)
    return model.eval()


def closed_form_output(
    base: Tensor, x: Tensor, positive: LoraBranch, negative: LoraBranch, gate: GateWeights
) -> Tensor:
    """The output of NAT's layer as the paper writes it.

    Args:
        base: output of the frozen layer.
        x: input of the layer.
        positive: the positive LoRA branch.
        negative: the negative LoRA branch.
        gate: weights of the gate that mixes both.
    """
    h = torch.stack([base + each.low @ each.up.T for each in (positive, negative)], dim=-2)
    h = h.to(gate.query.dtype)
    logits = (F.linear(h, gate.key) @ F.linear(x, gate.query)[..., None])[..., 0]
    weight = 2 * gate.beta * logits.softmax(dim=-1)[..., 1:] - gate.beta
    values = F.linear(F.gelu(F.linear(h, gate.inner)), gate.outer)
    return base + (1 - weight) * values[..., 0, :] + weight * values[..., 1, :]


def _check_layers(model: Any) -> None:
    """Raise unless the first NAT layer equals the closed form."""
    for name, layer in model.named_modules():
        if not hasattr(layer, "lora_nat_q"):
            continue
        gate = GateWeights(
            *(
                getattr(layer, f"lora_nat_{x}")["nat"].weight.double()
                for x in ("q", "k", "v1", "v2")
            )
        )
        x = torch.randn(5, layer.in_features, device=gate.query.device, dtype=torch.float64)
        weight = layer.base_layer.weight.double()
        positive, negative = (
            LoraBranch(
                x @ layer.lora_A[each].weight.double().T * layer.scaling[each],
                layer.lora_B[each].weight.double(),
            )
            for each in ("nat", "negative")
        )
        expected = closed_form_output(x @ weight.T, x, positive, negative, gate)
        found = nat_layer.gated_output(x @ weight.T, x, positive, negative, gate)
        if not torch.allclose(found, expected, atol=1e-9, rtol=1e-9):
            raise AssertionError(f"{name}: not the closed form by {(found - expected).abs().max()}")
        break


def _times(model: Any, ids: Tensor, args: argparse.Namespace) -> list[dict[str, str]]:
    switch: Any = model.base_model  # takes one adapter or several

    @torch.no_grad()
    def forward() -> Tensor:
        return model(ids).logits

    def base() -> Tensor:
        with model.disable_adapter():
            return forward()

    def closed_form() -> Tensor:
        with patch.object(nat_layer, "gated_output", closed_form_output):
            return forward()

    methods: dict[str, tuple[list[str], Callable[[], Any]]] = {
        "two stock LoRAs": (["negative", "second"], forward),
        "base alone": (["nat"], base),
        "NAT written out": (["nat"], closed_form),
        "NAT": (["nat"], forward),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    # The first round warms up and is not counted.
    for _ in tqdm(range(args.rounds + 1), desc="timing", unit="round", disable=None):
        for name, (adapters, call) in methods.items():
            switch.set_adapter(adapters)
            seconds[name].append(seconds_of(call, args.device))
    best = {name: min(each[1:]) for name, each in seconds.items()}
    floor = best["two stock LoRAs"]
    return [
        {"forward": name, "ms": f"{1e3 * x:.1f}", "of two LoRAs": f"{x / floor:.2f}"}
        for name, x in best.items()
    ]


def _memory(model: Any, ids: Tensor, args: argparse.Namespace) -> list[dict[str, str]]:
    labels = ids.roll(-1, dims=1).clone()
    labels[:, : ids.shape[1] // 4] = labels[:, -1] = IGNORE
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    model.set_adapter("student")
    weights = sum(x.numel() * x.element_size() for x in model.parameters())
    steps = {
        "plain KD, written out": partial(_reference_step, model, batch, False),
        "plain KD": partial(_step, model, batch, "none"),
        "NCE": partial(_step, model, batch, "sequence"),
    }
    rounding = 1e-3 if args.dtype == "float32" else 0.05
    _check_step("NCE", steps["NCE"](), _reference_step(model, batch, True), rounding)
    _check_step("plain KD", steps["plain KD"](), _reference_step(model, batch, False), rounding)
    # The check above has allocated the gradients, so no step is charged for them.
    extra = {
        name: min(peak_memory(call, args.device) for _ in range(2)) for name, call in steps.items()
    }
    floor = extra["plain KD"]
    return [
        {
            "step": name,
            "extra MiB": f"{x / 2**20:.1f}",
            "of plain KD": f"{x / max(1, floor):.2f}",
            "with the model": f"{(x + weights) / (floor + weights):.2f}",
        }
        for name, x in extra.items()
    ]


Step = tuple[float, list[Tensor]]
"""The loss and the gradients of a training step."""


def _step(model: Any, batch: dict[str, Tensor], calibrate_by: Any) -> Step:
    teachers = teacher_outputs(model, batch, calibrate_by=calibrate_by)
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    loss = distillation_loss(model(**inputs), batch["labels"], side_inputs=teachers)
    return _backward(model, loss)


def _reference_step(model: Any, batch: dict[str, Tensor], calibrated: bool) -> Step:
    """A training step with the formulas of the paper's code, without padding and prompts."""
    inputs = {name: x for name, x in batch.items() if name != "labels"}
    mask = batch["labels"] != IGNORE
    weight: Any = 1.0
    with torch.no_grad():
        model.set_adapter("nat", inference_mode=True)
        teacher = model(**inputs).logits.float().softmax(dim=-1)
        if calibrated:
            model.set_adapter("negative", inference_mode=True)
            negative = model(**inputs).logits.float().softmax(dim=-1)
            divergence = (negative * (negative / teacher).log()).sum(dim=-1) * mask
            weight = 0.5 + torch.tanh(divergence.sum(dim=1) / mask.sum(dim=1))[:, None]
    model.set_adapter("student")
    logp = model(**inputs).logits.float().log_softmax(dim=-1)
    soft = (-(teacher * logp).sum(dim=-1) * mask * weight).sum() / mask.sum()
    return _backward(model, 0.5 * F.nll_loss(logp[mask], batch["labels"][mask]) + 0.5 * soft)


def _backward(model: Any, loss: Tensor) -> Step:
    for x in model.parameters():
        x.grad = None
    loss.backward()
    return loss.item(), [x.grad for x in model.parameters() if x.grad is not None]


def _check_step(name: str, found: Step, expected: Step, rounding: float) -> None:
    """Raise if losses or gradients differ by more than the share ``rounding`` of the largest."""
    scale = max(float(x.abs().max()) for x in expected[1])
    wrong = max(float((a - b).abs().max()) for a, b in zip(found[1], expected[1], strict=True))
    if abs(found[0] - expected[0]) > rounding * expected[0] or wrong > rounding * scale:
        raise AssertionError(f"{name}: loss {found[0]} is not {expected[0]}, or gradients differ")


if __name__ == "__main__":
    sys.exit(main())
