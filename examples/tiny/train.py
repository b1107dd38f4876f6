"""Train the tiny base and the tiny process reward model from scratch.

    python -m examples.tiny.train base --out runs/base
    python -m examples.tiny.train prm --out runs/prm --base runs/base

Both stages learn from random worked problems (``mixtures.py``): the next token of right steps, and
at the end of each step whether the step is right. The base learns both, so that its hidden states
can already verify; the process reward model starts from the base and mostly learns verdicts. Each
batch is a function of the seed and its number, so a stopped run continues with equal results.
"""

import argparse
import json
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny import export
from examples.tiny.batch import Batch
from examples.tiny.mixtures import (
    Mixture,
    MixtureDataset,
    Schedule,
    arithmetic_solution,
    countdown_solution,
)
from examples.tiny.model import RESULTS_LAYER, LossWeights, MultiHeadModel, model_config
from examples.tiny.muon import Muon
from examples.tiny.sampled_solutions import read_solutions, sample_labelled, write_solutions
from examples.tiny.tokenizer import build_tokenizer
from reason_decode.models.devices import default_device, has_native_bf16
from reason_decode.training.examples import IGNORE

SAVE_STEPS = 250
# Arithmetic is learnt long before countdown. Halfway its share is cut, and after the decay of the
# learning rate a short tail of countdown alone lets the base forget a little of it: the base stays
# imperfect at both kinds, so that there is something left for a verifier to correct.
TAIL = 200


def base_schedule(steps: int) -> Schedule:
    """Mixtures that the base learns from.

    Args:
        steps: training steps, without the tail.
    """
    return (
        (0, Mixture(countdown=64, arithmetic=9)),
        (steps // 2, Mixture(countdown=88, arithmetic=3)),
        (steps, Mixture(countdown=96, arithmetic=0)),
    )


def prm_schedule(steps: int) -> Schedule:
    """Mixtures that the process reward model learns from.

    They have targets and numbers of all sizes: a verifier that only sees the base's forty targets
    learns them by heart, state by state, and knows nothing about 24. Chains of equations take
    longest to learn, so all other kinds are halved until the last quarter.

    Args:
        steps: training steps.
    """
    whole = Mixture(
        countdown=8,
        varied=32,
        arithmetic=2,
        brief=10,
        sampled=24,
        flawed=0.6,
        surface_variation=0.4,
        terse=True,
        chains=8,
        drills=48,
    )
    less = whole._replace(
        countdown=4, varied=16, arithmetic=1, brief=6, sampled=12, chains=5, drills=72
    )
    return ((0, less), (3 * steps // 4, whole))


def tokenizer_corpus(count: int = 1500) -> Iterable[str]:
    """Worked problems without flaws, from which the tokenizer learns its merges.

    Args:
        count: number of problems of each kind.
    """
    rng = random.Random("tokenizer")
    for k in range(count):
        deep = k % 10 == 0
        for solution in (
            countdown_solution(rng, 0.0),
            arithmetic_solution(rng, 0.0, deep=deep),
        ):
            yield solution.prompt + "\n".join(solution.steps) + "\n"


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine to a fiftieth of the peak; after ``steps`` a tenth of the peak.

    Args:
        step: the training step, from 0.
        steps: training steps of warm-up and cosine.
        peak: the largest learning rate.
    """
    warmup = min(100, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return peak / 10
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    network: MultiHeadModel,
    data: Dataset[list[Batch]],
    out: Path,
    *,
    steps: int,
    peak: float,
    weights: LossWeights,
    tail: int = 0,
    stop_at: int | None = None,
    workers: int = 1,
) -> None:
    """Train a model in place, on the default device; a stopped run continues from its checkpoint.

    Each step minimises ``sum_k weights[k] * mean(losses of kind k)`` over all its batches.

    Args:
        network: the model with its heads.
        data: item k holds the batches of step k.
        out: existing folder for checkpoints and the log.
        steps: training steps of the learning rate schedule.
        peak: the largest learning rate.
        weights: weights of the losses.
        tail: further steps, at a tenth of the peak.
        stop_at: the step to stop at early; ``None`` for the end.
        workers: processes that make batches.
    """
    network.to(default_device())
    optimizers = _optimizers(network, peak)
    start, end = _resume(out, network, optimizers), stop_at or steps + tail
    loader = DataLoader(
        Subset(data, range(start, end)), batch_size=None, num_workers=workers, prefetch_factor=4
    )
    bar = tqdm(loader, initial=start, total=steps, unit="step", mininterval=5)
    for step, batches in enumerate(bar, start):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, steps, peak)
        losses = _training_step(network, optimizers, batches, weights)
        # Reading a loss waits for the GPU, so it is done seldom.
        if step % 25 == 0:
            row = {name: round(loss.item(), 4) for name, loss in losses.items()}
            bar.set_postfix(row)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step, **row}) + "\n")
        if (step + 1) % SAVE_STEPS == 0 or step + 1 == end:
            _save(out, network, optimizers, step + 1)


def _optimizers(network: MultiHeadModel, peak: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices in the layers, AdamW for embedding, heads and norms."""
    matrices = [p for p in network.model.model.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in inside]
    return [
        Muon(matrices, lr=peak, weight_decay=0.1),
        torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _training_step(
    network: MultiHeadModel,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: list[Batch],
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Take one optimizer step on a few batches; the mean losses of each batch, 0-dimensional."""
    counts = [[int((x != IGNORE).sum()) for x in batch[1:]] for batch in batches]
    totals = [max(1, sum(column)) for column in zip(*counts, strict=True)]
    means: dict[str, Tensor] = {}
    device = network.verdict.weight.device
    for k, (batch, own) in enumerate(zip(batches, counts, strict=True)):
        with torch.autocast(device.type, torch.bfloat16, enabled=has_native_bf16()):
            losses = network(Batch(*(x.to(device) for x in batch)))
        parts = [w * x / n for w, x, n in zip(weights, losses, totals, strict=True)]
        torch.stack(parts).sum().backward()
        for name, x, n in zip(LossWeights._fields, losses, own, strict=True):
            if n:
                means[f"{name}{k}"] = x.detach() / n
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return means


def _save(
    out: Path, network: MultiHeadModel, optimizers: Sequence[torch.optim.Optimizer], step: int
) -> None:
    state: dict[str, Any] = {
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
    }
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def _resume(out: Path, network: MultiHeadModel, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    device = network.verdict.weight.device
    state = torch.load(path, weights_only=True, map_location=device)
    network.load_state_dict(state["network"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"]


def train_base(out: Path, steps: int, seed: int) -> None:
    """Train the base from scratch on next tokens of right steps and on verdicts.

    Args:
        out: folder for checkpoints and for the result, ``model``.
        steps: training steps without the tail.
        seed: seed of weights and problems.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(tokenizer_corpus())
    tokenizer.save_pretrained(out)
    torch.manual_seed(seed)
    network = MultiHeadModel(LlamaForCausalLM(model_config(len(tokenizer))))
    data = MixtureDataset(tokenizer, base_schedule(steps), seed)
    train(
        network,
        data,
        out,
        steps=steps,
        peak=2e-3,
        weights=LossWeights(verdicts=0.5),
        tail=TAIL,
    )
    export.base(out, network.model)


def reset_top_layers(network: MultiHeadModel) -> None:
    """Give the layers above the results head, and the verdict head, new random weights; in place.

    There the base has memorised which of its forty targets each pair of numbers reaches, and that
    keeps it from computing a verdict.
    """
    fresh = MultiHeadModel(LlamaForCausalLM(network.model.config))
    network.verdict = fresh.verdict
    layers, new = network.model.model.layers, fresh.model.model.layers
    for k in range(len(layers) + RESULTS_LAYER + 1, len(layers)):
        layers[k] = new[k]


def train_prm(out: Path, base: Path, steps: int, seed: int) -> None:
    """Train the process reward model, from the base, on generated and on sampled solutions.

    Args:
        out: folder for samples, checkpoints and the result, ``model``.
        base: the folder in which the base was trained.
        steps: training steps.
        seed: seed of weights, problems and samples.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    network = MultiHeadModel(LlamaForCausalLM(model_config(len(tokenizer))))
    network.load_state_dict(
        torch.load(base / "checkpoint.pt", weights_only=True, map_location="cpu")["network"]
    )
    samples = out / "samples.jsonl"
    if not samples.exists():
        write_solutions(samples, sample_labelled(network.model.eval(), tokenizer, seed))
    torch.manual_seed(seed)
    reset_top_layers(network)
    network.train()
    data = MixtureDataset(tokenizer, prm_schedule(steps), seed + 1, read_solutions(samples))
    weights = LossWeights(tokens=0.2, results=1.0, values=1.0)
    train(network, data, out, steps=steps, peak=1e-3, weights=weights)
    export.prm(out, base, network.model, network.verdict)


def main() -> None:
    """Parse the command line and run one stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=["base", "prm"], help="the model to train")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and weights")
    parser.add_argument("--base", type=Path, help="prm: the --out folder of the base")
    parser.add_argument(
        "--steps", type=int, help="training steps (default: 5000 for base, 4500 for prm)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    args = parser.parse_args()
    if args.stage == "base":
        train_base(args.out, args.steps or 5000, args.seed)
    elif args.base is None:
        parser.error("got prm without --base; name the folder that the base was trained in")
    else:
        train_prm(args.out, args.base, args.steps or 4500, args.seed)


if __name__ == "__main__":
    main()
