"""The methods of ``dust.py``: training each adapter and testing it."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from benchmarks.papers.dust_samples import DEVICE, KINDS, SEPARATOR, TrainingSamples, is_right
from reason_decode.adapters import load_adapter, sum_adapters
from reason_decode.evaluation import evaluate
from reason_decode.models.loading import load_padded_tokenizer, packaged
from reason_decode.tasks import TASKS, Item
from reason_decode.training import (
    BaselineConfig,
    CalibrationLevel,
    LabelledSolution,
    NATConfig,
    NCEConfig,
    NegativeConfig,
    SamplingConfig,
    augment,
    train_baseline,
    train_nat,
    train_nce,
    train_negative,
)

BASE = packaged("base")
BASELINES: dict[str, dict[str, Any]] = {
    "ft": {"method": "ft"},
    "cot-kd": {"method": "cot-kd"},
    "second": {"method": "cot-kd"},
    "mix": {"method": "mix"},
    "cl": {"method": "cl"},
    "nt": {"method": "nt"},
    "ul-token": {"method": "ul", "unlikelihood_level": "token"},
    "ul-sequence": {"method": "ul", "unlikelihood_level": "sequence"},
    "cot-kd-as-large": {"method": "cot-kd"},
}
METHODS = (
    "base",
    "ft",
    "cot-kd",
    "second",
    "mix",
    "cl",
    "nt",
    "ul-token",
    "ul-sequence",
    "negative",
    "nat",
    "nat-two-positives",
    "cot-kd-as-large",
    "2pos-neg",
    "nce",
    "kd",
)
# Added to the seed for the second run of cot-kd, which shows how much two seeds agree.
SECOND_SEED_OFFSET = 1000
EXTRA = ("nce-token", "cot-kd-augmented", "nce-augmented")
# The level at which a student's distillation is weighted, if not the sequence.
CALIBRATE_BY: dict[str, CalibrationLevel] = {"kd": "none", "nce-token": "token"}


@dataclass(frozen=True)
class Experiment:
    """The options, data and results of a table.

    Args:
        args: the command line options.
        samples: samples to learn from.
        tests: task -> problems to test on.
        rows: results by method and seed; grows.
    """

    args: argparse.Namespace
    samples: TrainingSamples
    tests: dict[str, list[Item]]
    rows: dict[tuple[str, int], dict[str, Any]]

    def folder(self, method: str, seed: int) -> Path:
        """The folder of a method's adapter."""
        return self.args.output / f"{method}-{seed}"

    def settings(self, count: int, seed: int, steps: int | None = None) -> dict[str, Any]:
        """Settings of a trainer that give equally many steps for any number of examples.

        Args:
            count: number of examples.
            seed: seed of the training.
            steps: training steps; by default those of the command line.
        """
        args = self.args
        return {
            "num_train_epochs": (steps or args.steps) * args.batch_size / count,
            "batch_size": args.batch_size,
            "learning_rate": args.learning_rate,
            "save_steps": 10**6,
            "seed": seed,
            "lora_rank": args.lora_rank,
        }


def load_base() -> Any:
    """The packaged base, on the device."""
    model: Any = AutoModelForCausalLM.from_pretrained(BASE)
    return model.to(DEVICE).eval()


def ensure_tested(experiment: Experiment, method: str, seed: int) -> Path:
    """The folder of a method's adapter; trains and tests it if there is no result.

    Args:
        experiment: the results; a row is added.
        method: one of ``METHODS`` or ``EXTRA``.
        seed: seed of the training.
    """
    folder = experiment.folder(method, seed)
    if (method, seed) in experiment.rows:
        return folder
    before = set(experiment.rows)
    start = time.perf_counter()
    counts = (
        {"trainable_parameters": 0, "steps": 0}
        if method == "base"
        else train(experiment, method, seed, folder)
    )
    # The seconds of adapters that this one is built on are in their own rows.
    others = sum(experiment.rows[key]["seconds"] for key in set(experiment.rows) - before)
    trained = time.perf_counter() - start - others
    model = load_base() if method == "base" else load_adapter(load_base(), folder)
    row: dict[str, Any] = {"method": method, "seed": seed, **counts, "training_seconds": trained}
    row["correct"] = {}
    for name, items in experiment.tests.items():
        result = evaluate(
            model,
            load_padded_tokenizer(str(BASE)),
            None,
            items,
            TASKS[name],
            batch_size=experiment.args.eval_batch_size,
            temperature=0.0,
        )
        row["correct"][name] = [int(x["correct"]) for x in result["rows"]]
    row["seconds"] = time.perf_counter() - start - others
    experiment.rows[method, seed] = row
    _append(experiment.args.output / "results.jsonl", row)
    shares = {name: f"{sum(x)} of {len(x)}" for name, x in row["correct"].items()}
    print(f"{method}, seed {seed}: {shares}, {row['seconds']:.0f} s", flush=True)
    return folder


def train(experiment: Experiment, method: str, seed: int, out: Path) -> dict[str, Any]:
    """Train a method and the adapters that it is built on; the counts of the trainer."""
    tokenizer, (reference, right, wrong, _) = load_padded_tokenizer(str(BASE)), experiment.samples
    settings = experiment.settings(len(right), seed)
    targets = {"target_modules": tuple(experiment.args.target_modules)}
    if method in BASELINES:
        options = BASELINES[method]
        learnt = reference if method == "ft" else right
        count = len(right) + len(wrong) if method == "mix" else len(learnt)
        settings = experiment.settings(count, seed + SECOND_SEED_OFFSET * (method == "second"))
        if method == "cot-kd-as-large":
            settings["lora_rank"] = _matching_rank(experiment, seed)
        config = BaselineConfig(**options, **targets, **settings)
        return train_baseline(BASE, tokenizer, learnt, wrong, out, config)
    if method == "negative":
        settings = experiment.settings(len(wrong), seed, experiment.args.negative_steps)
        return train_negative(BASE, tokenizer, wrong, out, NegativeConfig(**targets, **settings))
    if method == "2pos-neg":
        return _positive_minus_negative(experiment, seed, out)
    if method in ("nat", "nat-two-positives"):
        other = ensure_tested(experiment, "negative" if method == "nat" else "second", seed)
        config = NATConfig(negative=str(other), gate_dim=experiment.args.gate_dim, **settings)
        return train_nat(BASE, tokenizer, right, out, config)
    if method == "cot-kd-augmented":
        right = _augmented(experiment, ensure_tested(experiment, "cot-kd", seed), seed)
        config = BaselineConfig(method="cot-kd", **targets, **experiment.settings(len(right), seed))
        return train_baseline(BASE, tokenizer, right, (), out, config)
    nat = ensure_tested(experiment, "nat", seed)
    if method == "nce-augmented":
        right = _augmented(experiment, nat, seed)
        settings = experiment.settings(len(right), seed)
    calibrate_by = CALIBRATE_BY.get(method, "sequence")
    config = NCEConfig(nat=str(nat), calibrate_by=calibrate_by, **settings)
    return train_nce(BASE, tokenizer, right, out, config)


def _matching_rank(experiment: Experiment, seed: int) -> int:
    """The LoRA rank with as many parameters as NAT trains."""
    ensure_tested(experiment, "nat", seed)
    ensure_tested(experiment, "cot-kd", seed)
    each = experiment.rows["cot-kd", seed]["trainable_parameters"] / experiment.args.lora_rank
    return round(experiment.rows["nat", seed]["trainable_parameters"] / each)


def _positive_minus_negative(experiment: Experiment, seed: int, out: Path) -> dict[str, Any]:
    """Write ``2 pos - neg`` of trained adapters; its counts."""
    parts = ensure_tested(experiment, "cot-kd", seed), ensure_tested(experiment, "negative", seed)
    sum_adapters(load_base(), dict(zip(parts, (2.0, -1.0), strict=True))).save_pretrained(out)
    rows = [experiment.rows[name, seed] for name in ("cot-kd", "negative")]
    parameters = sum(row["trainable_parameters"] for row in rows)
    return {"trainable_parameters": parameters, "steps": 0}


def _augmented(experiment: Experiment, folder: Path, seed: int) -> list[LabelledSolution]:
    """The right samples and new right ones of an adapter."""
    model = load_adapter(load_base(), folder)
    problems = experiment.samples.reference[
        :: max(1, len(experiment.samples.reference) // experiment.args.augment)
    ]
    tokens = max(kind.tokens for kind in KINDS.values())
    config = SamplingConfig(
        n=experiment.args.n, max_new_tokens=tokens, separator=SEPARATOR, seed=seed
    )
    tokenizer = load_padded_tokenizer(str(BASE))
    return augment(model, tokenizer, experiment.samples.right, problems, config, is_right=is_right)


def _append(path: Path, row: dict[str, Any]) -> None:
    """Append a line, on a new line if a killed run has left half a line."""
    half = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * half + json.dumps(row) + "\n")
