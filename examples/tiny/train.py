"""The recipe of the tiny models: ``python -m examples.tiny.train {base,prm} --out DIR``.

Both stages learn from worked problems made on the fly (``stream.py``): the next token of right
steps, and at each step's end whether the step is right. The base learns both, so that
verifying is a skill that its hidden states have; the process reward model goes on from the base
with verdicts alone. Every batch follows from the seed and its number, so a run that was stopped
goes on as if it had not been.
"""

import argparse
import json
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny import export, sampled, stream, tokenizer
from examples.tiny.batch import (
    DEAD_END,
    DIGITS,
    IGNORE,
    NO_DIGIT,
    RESULTS,
    VALUE,
    VERDICTS,
    Batch,
)
from examples.tiny.muon import Muon
from examples.tiny.stream import Mixture, Stream
from reason_decode.models.devices import default_device, has_native_bf16

SAVE_EVERY = 250
# Of the hidden states; two layers are above it.
RESULTS_LAYER = -3
# Arithmetic is learned long before countdown. Half-way its share is cut, and after the decay of the
# learning rate a short tail of countdown alone takes a little of it back: the base stays imperfect
# at both, so that there is something left for a verifier to mend.
TAIL = 200


def base_schedule(steps: int) -> stream.Schedule:
    """What the base learns from, for a run of ``steps`` and the tail."""
    return (
        (0, Mixture(countdown=64, arithmetic=9)),
        (steps // 2, Mixture(countdown=88, arithmetic=3)),
        (steps, Mixture(countdown=96, arithmetic=0)),
    )


def prm_schedule(steps: int) -> stream.Schedule:
    """What the process reward model learns from.

    Targets and numbers of all sizes: a verifier that only met the base's forty targets learns them
    by heart, state by state, and has nothing to say about 24. Chains of equations take longest to
    learn, and all else is half as much until the last quarter.
    """
    whole = Mixture(
        countdown=8,
        varied=32,
        arithmetic=2,
        brief=10,
        sampled=24,
        flawed=0.6,
        rough=0.4,
        terse=True,
        chains=8,
        drills=48,
    )
    less = whole._replace(
        countdown=4, varied=16, arithmetic=1, brief=6, sampled=12, chains=5, drills=72
    )
    return ((0, less), (3 * steps // 4, whole))


def config(vocab_size: int) -> LlamaConfig:
    """The shape of the tiny model: 2.7 M parameters."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=512,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


class Weights(NamedTuple):
    """How much each kind of loss counts.

    Next tokens, verdicts, results of two numbers, values of expressions.
    """

    tokens: float = 1.0
    verdicts: float = 1.0
    results: float = 0.0
    values: float = 0.0


class Learner(nn.Module):
    """A causal language model with a second head that says whether the step just ended is right.

    A third head tells the results that the two numbers left make. Without it nothing asks for the
    product of 3 and 8, since no problem has the target 24, and to that target it would be unknown.
    It reads from below the top, so that the layers above can compare results with the target. In
    the same place a fourth head tells the values of expressions, to be compared with those before.
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model = model
        self.verdict = nn.Linear(model.config.hidden_size, len(VERDICTS))
        self.results = nn.Linear(model.config.hidden_size, RESULTS * DIGITS * (NO_DIGIT + 1))
        self.values = nn.Linear(model.config.hidden_size, VALUE * (NO_DIGIT + 1))

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Summed losses in nats, of each kind of ``Weights``, each read where it learns."""
        read = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
        hidden = read.last_hidden_state
        targets = batch.labels[:, 1:]
        learn = targets != IGNORE
        logits = self.model.lm_head(hidden[:, :-1][learn])
        token_loss = F.cross_entropy(logits.float(), targets[learn], reduction="sum")
        judged = batch.verdicts != IGNORE
        logp_verdicts = self.verdict(hidden[judged]).float().log_softmax(dim=-1)
        logp_legal = logp_verdicts[:, DEAD_END:].logsumexp(dim=-1, keepdim=True)
        logp_verdicts = torch.cat([logp_verdicts, logp_legal], dim=-1)
        verdict_loss = F.nll_loss(logp_verdicts, batch.verdicts[judged], reduction="sum")
        below = read.hidden_states[RESULTS_LAYER]
        results_loss = _digit_loss(self.results, below, batch.results)
        return token_loss, verdict_loss, results_loss, _digit_loss(self.values, below, batch.values)


def _digit_loss(head: nn.Linear, hidden: Tensor, digits: Tensor) -> Tensor:
    """Summed ``-log p(digits)`` in nats, told from ``hidden`` (b, t, h) wherever there are any."""
    if not digits.shape[-1]:
        return hidden.new_zeros(())
    known = digits[..., 0] != IGNORE
    logits = head(F.rms_norm(hidden[known], hidden.shape[-1:])).float()
    return F.cross_entropy(logits.view(-1, NO_DIGIT + 1), digits[known].view(-1), reduction="sum")


def corpus(count: int = 1500) -> Iterable[str]:
    """Clean worked problems from which the tokenizer learns its merges."""
    rng = random.Random("tokenizer")
    for k in range(count):
        deep = k % 10 == 0
        for work in (
            stream.countdown_problem(rng, 0.0),
            stream.arithmetic_problem(rng, 0.0, deep=deep),
        ):
            yield work.prompt + "\n".join(work.steps) + "\n"


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine to a fiftieth of the peak; a tenth of it after ``steps``."""
    warmup = min(100, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    if step >= steps:
        return peak / 10
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    learner: Learner,
    data: Dataset[list[Batch]],
    out: Path,
    *,
    steps: int,
    peak: float,
    weights: Weights,
    tail: int = 0,
    stop_at: int | None = None,
    workers: int = 1,
) -> None:
    """Train in place; checkpoints and a log go to ``out``, from which a stopped run goes on.

    Each step minimises, over all its batches,
    ``sum_k weights[k] * mean(losses of kind k)``. The learner goes to a GPU where there is one;
    ``workers`` processes make its batches.
    """
    learner.to(default_device())
    optimizers = _optimizers(learner, peak)
    start, end = _resume(out, learner, optimizers), stop_at or steps + tail
    loader = DataLoader(
        Subset(data, range(start, end)), batch_size=None, num_workers=workers, prefetch_factor=4
    )
    bar = tqdm(loader, initial=start, total=steps, unit="step", mininterval=5)
    for step, batches in enumerate(bar, start):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, steps, peak)
        losses = _step(learner, optimizers, batches, weights)
        # Only here is a GPU waited for.
        if step % 25 == 0:
            row = {name: round(loss.item(), 4) for name, loss in losses.items()}
            bar.set_postfix(row)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step, **row}) + "\n")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == end:
            _save(out, learner, optimizers, step + 1)


def _optimizers(learner: Learner, peak: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding, the heads and the norms."""
    matrices = [p for p in learner.model.model.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in learner.parameters() if id(p) not in inside]
    return [
        Muon(matrices, lr=peak, weight_decay=0.1),
        torch.optim.AdamW(rest, lr=peak, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _step(
    learner: Learner,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: list[Batch],
    weights: Weights,
) -> dict[str, Tensor]:
    """One update over a few batches; returns the mean losses of each batch, 0-dimensional."""
    counts = [[int((x != IGNORE).sum()) for x in batch[1:]] for batch in batches]
    totals = [max(1, sum(column)) for column in zip(*counts, strict=True)]
    row: dict[str, Tensor] = {}
    device = learner.verdict.weight.device
    for k, (batch, own) in enumerate(zip(batches, counts, strict=True)):
        with torch.autocast(device.type, torch.bfloat16, enabled=has_native_bf16()):
            losses = learner(Batch(*(x.to(device) for x in batch)))
        parts = [w * x / n for w, x, n in zip(weights, losses, totals, strict=True)]
        torch.stack(parts).sum().backward()
        for name, x, n in zip(Weights._fields, losses, own, strict=True):
            if n:
                row[f"{name}{k}"] = x.detach() / n
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return row


def _save(
    out: Path, learner: Learner, optimizers: Sequence[torch.optim.Optimizer], step: int
) -> None:
    state: dict[str, Any] = {
        "learner": learner.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
    }
    torch.save(state, out / "checkpoint.tmp")
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def _resume(out: Path, learner: Learner, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    device = learner.verdict.weight.device
    state = torch.load(path, weights_only=True, map_location=device)
    learner.load_state_dict(state["learner"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"]


def train_base(out: Path, steps: int, seed: int) -> None:
    """The base from scratch: next tokens of right steps, and verdicts."""
    out.mkdir(parents=True, exist_ok=True)
    words: PreTrainedTokenizerFast = tokenizer.build(corpus())
    words.save_pretrained(out)
    torch.manual_seed(seed)
    learner = Learner(LlamaForCausalLM(config(len(words))))
    data = Stream(words, base_schedule(steps), seed)
    train(
        learner,
        data,
        out,
        steps=steps,
        peak=2e-3,
        weights=Weights(verdicts=0.5),
        tail=TAIL,
    )
    export.base(out, learner.model)


def renew_top(learner: Learner) -> None:
    """Start the layers above the results, and the verdict head, from scratch; in place.

    What the base knows there about reach is a list of its forty targets for each pair of numbers,
    which keeps a verdict from being computed.
    """
    fresh = Learner(LlamaForCausalLM(learner.model.config))
    learner.verdict = fresh.verdict
    layers, new = learner.model.model.layers, fresh.model.model.layers
    for k in range(len(layers) + RESULTS_LAYER + 1, len(layers)):
        layers[k] = new[k]


def train_prm(out: Path, base: Path, steps: int, seed: int) -> None:
    """The process reward model, from the base: verdicts on made and on sampled solutions."""
    out.mkdir(parents=True, exist_ok=True)
    words = PreTrainedTokenizerFast.from_pretrained(base)
    learner = Learner(LlamaForCausalLM(config(len(words))))
    learner.load_state_dict(
        torch.load(base / "checkpoint.pt", weights_only=True, map_location="cpu")["learner"]
    )
    pool = out / "samples.jsonl"
    if not pool.exists():
        model = learner.model.eval()
        sampled.write(pool, sampled.draw(model, words, seed))
    torch.manual_seed(seed)
    renew_top(learner)
    learner.train()
    data = Stream(words, prm_schedule(steps), seed + 1, sampled.read(pool))
    weights = Weights(tokens=0.2, results=1.0, values=1.0)
    train(learner, data, out, steps=steps, peak=1e-3, weights=weights)
    export.prm(out, base, learner.model, learner.verdict)


def main() -> None:
    """Parse the command line and run one stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=["base", "prm"])
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and weights")
    parser.add_argument("--base", type=Path, help="prm: the --out of the base")
    parser.add_argument("--steps", type=int, default=None, help="default: base 5000, prm 4500")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.stage == "base":
        train_base(args.out, args.steps or 5000, args.seed)
    elif args.base is None:
        parser.error("prm needs --base, the folder that the base was trained in")
    else:
        train_prm(args.out, args.base, args.steps or 4500, args.seed)


if __name__ == "__main__":
    main()
