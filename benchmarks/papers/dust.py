r"""Turning dust into gold, on the tiny model: NAT and NCE beside all that they are compared with.

    python -m benchmarks.papers.dust --samples runs/dust/samples --out runs/dust \
        --data ../shared/data/game24/24.csv --bbh ../shared/data/bbh/multistep_arithmetic_two.json

Every method learns LoRA matrices (or NAT's) of the packaged base from the same samples, in as many
optimizer steps of as many right samples each; then greedy decoding is tested. Accuracy is the mean
over seeds and problems, its interval is over both (others drawn of both); the gain is over cot-kd,
problem by problem, and a second table has the gains over the controls. Then how far the right
answers of two models are the same (IoU, intersection over union): those of the positive and of the
negative model, beside two seeds of the positive one and what two models of these accuracies would
share by chance.

`second` is cot-kd with another seed. Each finished method and seed is a line of --out/results.jsonl
and is not done again; what was trained stays in --out. Methods in EXTRA run only if they are named.
Several runs may share one --out: --seeds 1, --seeds 1 --first-seed 1, ... and share out the drawing
of its samples before: --draw 0 4, --draw 1 4, ... Where there is a GPU all runs on it; a tiny
model keeps it waiting, so that several runs side by side, and large batches, are what pays there.

Source: Li et al. 2024, 2312.12832, tables 1 and 2. The controls (a second positive LoRA in the
place of the negative one, as many parameters as NAT, 2 pos - neg) are ours.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from benchmarks.papers.dust_samples import DEVICE, KINDS, SEPARATOR, Samples, draw, is_right, read
from benchmarks.papers.dust_table import accuracy_rows, gain_rows, overlap_rows
from examples.tiny import export
from reason_decode import tiny
from reason_decode.adapters import load_adapter, sum_adapters
from reason_decode.evaluation import evaluate
from reason_decode.io.console import table
from reason_decode.io.jsonl import Reject, stream_rows
from reason_decode.models.loading import load_padded_tokenizer
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

BASE = tiny.WEIGHTS / "base"
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
# What is added to the seed of cot-kd's second run: the control of what two runs share.
SECOND = 1000
EXTRA = ("nce-token", "cot-kd-augmented", "nce-augmented")
# By what the distillation of a student is weighted, if not by sequence.
CALIBRATE_BY: dict[str, CalibrationLevel] = {"kd": "none", "nce-token": "token"}


@dataclass(frozen=True)
class Run:
    """What a table is made of.

    Args:
        args: the command line.
        samples: what is learnt from.
        tests: task -> its problems.
        rows: what is finished; grows.
    """

    args: argparse.Namespace
    samples: Samples
    tests: dict[str, list[Item]]
    rows: dict[tuple[str, int], dict[str, Any]]

    def folder(self, method: str, seed: int) -> Path:
        """Where its adapter is."""
        return self.args.out / f"{method}-{seed}"

    def settings(self, count: int, seed: int, steps: int | None = None) -> dict[str, Any]:
        """Settings of a trainer: the same number of steps, however many examples there are."""
        a = self.args
        return {
            "num_train_epochs": (steps or a.steps) * a.batch_size / count,
            "batch_size": a.batch_size,
            "learning_rate": a.learning_rate,
            "save_steps": 10**6,
            "seed": seed,
            "lora_rank": a.lora_rank,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Draw samples, train, test; print the tables."""
    args = _arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tests = _tests(args)
    tested = {item.prompt for items in tests.values() for item in items}
    problems = dict(zip(KINDS, args.problems, strict=True))
    draw(args.samples, problems, args.n, tested, part=tuple(args.draw or (0, 1)))
    if args.draw:
        return 0
    samples = read(args.samples, args.per_problem, args.wrong or args.per_problem, tested)
    print(samples.counts)
    told = {"right": samples.right, "wrong": samples.wrong, "references": samples.reference}
    print("learnt from at most:", ", ".join(f"{len(x)} {name}" for name, x in told.items()))
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args, samples, tests, _begin(args, tests))
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for method in args.only:
            need(run, method, 0 if method == "base" else seed)
    if args.ship:
        parts = {name: run.folder(name, args.first_seed) for name in ("negative", "nce")}
        parts["nat"] = run.folder("nat", args.first_seed) / "nat"
        export.adapters(args.ship, parts)
    if not args.quiet:
        rows = _sorted(run.rows)
        shown = [accuracy_rows(rows), gain_rows(rows), overlap_rows(rows)]
        print("\n\n".join(table(lines) for lines in shown if lines))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add: Any = parser.add_argument
    add("--samples", type=Path, required=True, help="folder of samples; they are drawn once")
    add("--out", type=Path, required=True, help="folder of results.jsonl and of adapters")
    add("--data", required=True, help="Game of 24 problems to test on (24.csv)")
    add("--rows", default="801:1001", help="of --data: FIRST:LAST (default: 801:1001)")
    add("--bbh", required=True, help="multistep_arithmetic_two.json, to test on")
    add("--limit", type=int, help="problems of a task to test on")
    add("--only", nargs="+", choices=(*METHODS, *EXTRA), default=list(METHODS), metavar="METHOD")
    add("--seeds", type=int, default=3)
    add("--first-seed", type=int, default=0, help="to share a table out to runs with one --out")
    add("--problems", type=int, nargs=2, default=[2560, 768], metavar=("GAMES", "SUMS"))
    add("--n", type=int, default=8, help="samples a problem to learn from (default: 8)")
    add("--draw", type=int, nargs=2, metavar=("K", "OF"), help="only the K-th part of the samples")
    add("--per-problem", type=int, default=2, help="right ones learnt from, and wrong ones")
    add("--wrong", type=int, help="wrong ones, if not as many")
    add("--steps", type=int, default=100, help="optimizer steps (default: 100)")
    add("--negative-steps", type=int, help="of the negative adapter, if not as many")
    add("--batch-size", type=int, default=16)
    add("--learning-rate", type=float, default=1e-3)
    add("--lora-rank", type=int, default=8)
    add("--target-modules", nargs="*", default=[], help="layers; the paper's: q_proj v_proj")
    add("--gate-dim", type=int, default=16, help="width of NAT's gate")
    add("--augment", type=int, default=256, help="problems sampled anew, for EXTRA")
    add("--eval-batch", type=int, default=32)
    add("--threads", type=int, help="of the CPU")
    add("--ship", type=Path, help="folder for negative, NAT and NCE of the first seed, as shipped")
    add("--quiet", action="store_true", help="no tables: one of several runs that share --out")
    return parser.parse_args(argv)


def _tests(args: argparse.Namespace) -> dict[str, list[Item]]:
    games, _ = TASKS["game24"].load(args.data, args.rows)
    sums, _ = TASKS["bbh-arithmetic"].load(args.bbh, None)
    return {"game24": games[: args.limit], "bbh-arithmetic": sums[: args.limit]}


def _begin(
    args: argparse.Namespace, tests: dict[str, list[Item]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """What --out has of these settings; raises where it has results of others."""
    names = ("steps", "negative_steps", "batch_size", "learning_rate", "lora_rank")
    names += ("target_modules", "gate_dim")
    names += ("per_problem", "wrong", "augment")
    settings: dict[str, Any] = {name: getattr(args, name) for name in names}
    settings["samples"] = str(args.samples.resolve())
    settings["tests"] = {task: [item.id for item in items] for task, items in tests.items()}
    path = args.out / "results.jsonl"
    if not path.exists():
        own = args.out / f"settings-{os.getpid()}.json"
        own.write_text(json.dumps({"settings": settings}) + "\n")
        # Of several runs that begin at once one begins the table, with all of the line.
        with suppress(FileExistsError):
            os.link(own, path)
        own.unlink()
    rows = [x[1] for x in stream_rows(path) if not isinstance(x, Reject)]
    if rows[0].get("settings") != settings:
        differ = [x for x in settings if rows[0].get("settings", {}).get(x) != settings[x]]
        raise ValueError(f"{path} was made with other {', '.join(differ)}; name another --out")
    return {(row["method"], row["seed"]): row for row in rows[1:]}


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; one that a killed run left half stays alone."""
    half = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * half + json.dumps(row) + "\n")


def _sorted(rows: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """By method and seed: runs that share a table write its rows in whatever order they end."""
    order = (*METHODS, *EXTRA)
    return dict(sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])))


def base() -> Any:
    """The model that adapters are put on, where it is to run."""
    model: Any = AutoModelForCausalLM.from_pretrained(BASE)
    return model.to(DEVICE).eval()


def need(run: Run, method: str, seed: int) -> Path:
    """The adapter of a method, trained and tested if that was not done before.

    Args:
        run: the table; a row is added.
        method: one of METHODS or EXTRA.
        seed: of the training.
    """
    folder = run.folder(method, seed)
    if (method, seed) in run.rows:
        return folder
    before = set(run.rows)
    start = time.perf_counter()
    told = (
        {"trainable_parameters": 0, "steps": 0}
        if method == "base"
        else train(run, method, seed, folder)
    )
    # Of what it builds on, the seconds are in rows of their own.
    others = sum(run.rows[key]["seconds"] for key in set(run.rows) - before)
    trained = time.perf_counter() - start - others
    model = base() if method == "base" else load_adapter(base(), folder)
    row: dict[str, Any] = {"method": method, "seed": seed, **told, "training_seconds": trained}
    row["correct"] = {}
    for name, items in run.tests.items():
        how: dict[str, Any] = {"batch_size": run.args.eval_batch, "temperature": 0.0}
        result = evaluate(model, load_padded_tokenizer(str(BASE)), None, items, TASKS[name], **how)
        row["correct"][name] = [int(x["correct"]) for x in result["rows"]]
    row["seconds"] = time.perf_counter() - start - others
    run.rows[method, seed] = row
    _append(run.args.out / "results.jsonl", row)
    shares = {name: f"{sum(x)} of {len(x)}" for name, x in row["correct"].items()}
    print(f"{method}, seed {seed}: {shares}, {row['seconds']:.0f} s", flush=True)
    return folder


def train(run: Run, method: str, seed: int, out: Path) -> dict[str, Any]:
    """Train a method and what it builds on; the counts and losses of the trainer."""
    words, (reference, right, wrong, _) = load_padded_tokenizer(str(BASE)), run.samples
    settings = run.settings(len(right), seed)
    targets = {"target_modules": tuple(run.args.target_modules)}
    if method in BASELINES:
        options = BASELINES[method]
        learnt = reference if method == "ft" else right
        count = len(right) + len(wrong) if method == "mix" else len(learnt)
        settings = run.settings(count, seed + SECOND * (method == "second"))
        if method == "cot-kd-as-large":
            settings["lora_rank"] = _matching_rank(run, seed)
        config = BaselineConfig(**options, **targets, **settings)
        return train_baseline(BASE, words, learnt, wrong, out, config)
    if method == "negative":
        settings = run.settings(len(wrong), seed, run.args.negative_steps)
        return train_negative(BASE, words, wrong, out, NegativeConfig(**targets, **settings))
    if method == "2pos-neg":
        return _sum(run, seed, out)
    if method in ("nat", "nat-two-positives"):
        beside = need(run, "negative" if method == "nat" else "second", seed)
        config = NATConfig(negative=str(beside), gate_dim=run.args.gate_dim, **settings)
        return train_nat(BASE, words, right, out, config)
    if method == "cot-kd-augmented":
        right = _augmented(run, need(run, "cot-kd", seed), seed)
        config = BaselineConfig(method="cot-kd", **targets, **run.settings(len(right), seed))
        return train_baseline(BASE, words, right, (), out, config)
    nat = need(run, "nat", seed)
    if method == "nce-augmented":
        right = _augmented(run, nat, seed)
        settings = run.settings(len(right), seed)
    calibrate_by = CALIBRATE_BY.get(method, "sequence")
    config = NCEConfig(nat=str(nat), calibrate_by=calibrate_by, **settings)
    return train_nce(BASE, words, right, out, config)


def _matching_rank(run: Run, seed: int) -> int:
    """Of LoRA matrices that are as many parameters as NAT trains."""
    need(run, "nat", seed)
    need(run, "cot-kd", seed)
    each = run.rows["cot-kd", seed]["trainable_parameters"] / run.args.lora_rank
    return round(run.rows["nat", seed]["trainable_parameters"] / each)


def _sum(run: Run, seed: int, out: Path) -> dict[str, Any]:
    """``2 pos - neg``, of what was trained already."""
    parts = need(run, "cot-kd", seed), need(run, "negative", seed)
    sum_adapters(base(), dict(zip(parts, (2.0, -1.0), strict=True))).save_pretrained(out)
    rows = [run.rows[name, seed] for name in ("cot-kd", "negative")]
    parameters = sum(row["trainable_parameters"] for row in rows)
    return {"trainable_parameters": parameters, "steps": 0}


def _augmented(run: Run, folder: Path, seed: int) -> list[LabelledSolution]:
    """The right samples and new ones of an adapter, by the same check."""
    model = load_adapter(base(), folder)
    problems = run.samples.reference[:: max(1, len(run.samples.reference) // run.args.augment)]
    tokens = max(kind.tokens for kind in KINDS.values())
    config = SamplingConfig(n=run.args.n, max_new_tokens=tokens, separator=SEPARATOR, seed=seed)
    words = load_padded_tokenizer(str(BASE))
    return augment(model, words, run.samples.right, problems, config, is_right=is_right)


if __name__ == "__main__":
    sys.exit(main())
