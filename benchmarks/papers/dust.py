r"""NAT and NCE beside their baselines and controls, on the packaged model.

    python -m benchmarks.papers.dust --samples runs/dust/samples --output runs/dust/table \
        --input ../shared/data/game24/24.csv --bbh ../shared/data/bbh/multistep_arithmetic_two.json

Every method trains a LoRA adapter (or NAT's) of the packaged base on the same samples, for the same
number of steps with the same number of right samples. Then greedy decoding is tested. Accuracy is
the mean over seeds and problems, with an interval over both. The gain is the paired difference to
cot-kd; a second table has the gains over the controls. A third table has the overlap of the right
answers of two models (IoU, intersection over union): of the positive and the negative model, of two
seeds of the positive one, and of two models with these accuracies by chance.

``second`` is cot-kd with another seed. Each finished method and seed is a line of results.jsonl in
``--output`` and is not run again; adapters stay there, too. Methods in ``EXTRA`` run only if they
are named. Several processes may share one ``--output``: --seeds 1, --seeds 1 --first-seed 1, ...;
before that they may split the sampling: --draw 0 4, --draw 1 4, ... Everything runs on the default
device. A tiny model leaves a GPU idle most of the time, so several processes and large batches pay.

Source: Li et al. 2024, 2312.12832, tables 1 and 2. The controls are ours: a second positive LoRA
instead of the negative one, LoRA with as many parameters as NAT, and 2 pos - neg.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.papers.dust_methods import EXTRA, METHODS, Experiment, ensure_tested
from benchmarks.papers.dust_samples import KINDS, draw_samples, read_samples
from benchmarks.papers.dust_table import accuracy_rows, gain_rows, overlap_rows
from examples.tiny import export
from reason_decode.io.console import table
from reason_decode.io.jsonl import stream_rows
from reason_decode.io.read_report import Reject
from reason_decode.tasks import TASKS, Item


def main(argv: Sequence[str] | None = None) -> int:
    """Draw samples, train, test, print the tables."""
    args = _arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tests = _tests(args)
    tested = {item.prompt for items in tests.values() for item in items}
    problems = dict(zip(KINDS, args.problems, strict=True))
    draw_samples(args.samples, problems, args.n, tested, part=tuple(args.draw or (0, 1)))
    if args.draw:
        return 0
    samples = read_samples(args.samples, args.per_problem, args.wrong or args.per_problem, tested)
    print(samples.counts)
    print(
        f"learnt from at most: {len(samples.right)} right, {len(samples.wrong)} wrong, "
        f"{len(samples.reference)} references"
    )
    args.output.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(args, samples, tests, _read_results(args, tests))
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for method in args.only:
            ensure_tested(experiment, method, 0 if method == "base" else seed)
    if args.export:
        parts = {name: experiment.folder(name, args.first_seed) for name in ("negative", "nce")}
        parts["nat"] = experiment.folder("nat", args.first_seed) / "nat"
        export.adapters(args.export, parts)
    if not args.quiet:
        rows = _sorted(experiment.rows)
        tables = [accuracy_rows(rows), gain_rows(rows), overlap_rows(rows)]
        print("\n\n".join(table(lines) for lines in tables if lines))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add: Any = parser.add_argument
    add("--samples", type=Path, required=True, help="folder of samples, drawn if they are missing")
    add("--output", type=Path, required=True, help="folder of results.jsonl and adapters")
    add("--input", required=True, help="Game of 24 problems to test on (24.csv)")
    add("--rows", default="801:1001", help="FIRST:LAST of --input (default: 801:1001)")
    add("--bbh", required=True, help="sums to test on (multistep_arithmetic_two.json)")
    add("--limit", type=int, help="only the first so many problems of each task")
    add(
        "--only",
        nargs="+",
        choices=(*METHODS, *EXTRA),
        default=list(METHODS),
        metavar="METHOD",
        help=f"methods (default: all of {', '.join(METHODS)}; others: {', '.join(EXTRA)})",
    )
    add("--seeds", type=int, default=3, help="seeds of each method (default: 3)")
    add("--first-seed", type=int, default=0, help="for processes that share --output (default: 0)")
    add(
        "--problems",
        type=int,
        nargs=2,
        default=[2560, 768],
        metavar=("GAMES", "SUMS"),
        help="problems to sample (default: 2560 768)",
    )
    add("--n", type=int, default=8, help="samples of a problem (default: 8)")
    add("--draw", type=int, nargs=2, metavar=("K", "OF"), help="only draw the K-th part of samples")
    add("--per-problem", type=int, default=2, help="right samples of a problem (default: 2)")
    add("--wrong", type=int, help="wrong samples of a problem (default: as right ones)")
    add("--steps", type=int, default=100, help="training steps (default: 100)")
    add("--negative-steps", type=int, help="of the negative adapter (default: as --steps)")
    add("--batch-size", type=int, default=16, help="right samples of a step (default: 16)")
    add("--learning-rate", type=float, default=1e-3, help="(default: 0.001)")
    add("--lora-rank", type=int, default=8, help="rank of the adapters (default: 8)")
    add(
        "--target-modules",
        nargs="*",
        default=[],
        help="layers with adapters; the paper's: q_proj v_proj (default: all linear layers)",
    )
    add("--gate-dim", type=int, default=16, help="width of NAT's gate (default: 16)")
    add(
        "--augment",
        type=int,
        default=256,
        help="problems to sample again, for EXTRA (default: 256)",
    )
    add("--eval-batch-size", type=int, default=32, help="problems of a test batch (default: 32)")
    add("--threads", type=int, help="CPU threads (default: torch's)")
    add("--export", type=Path, help="folder for the packaged adapters: negative, NAT, NCE")
    add("--quiet", action="store_true", help="print no tables")
    return parser.parse_args(argv)


def _tests(args: argparse.Namespace) -> dict[str, list[Item]]:
    games, _ = TASKS["game24"].load(args.input, args.rows)
    sums, _ = TASKS["bbh-arithmetic"].load(args.bbh, None)
    return {"game24": games[: args.limit], "bbh-arithmetic": sums[: args.limit]}


def _read_results(
    args: argparse.Namespace, tests: dict[str, list[Item]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """The results in ``--output``; raises if they are of other settings."""
    names = ("steps", "negative_steps", "batch_size", "learning_rate", "lora_rank")
    names += ("target_modules", "gate_dim")
    names += ("per_problem", "wrong", "augment")
    settings: dict[str, Any] = {name: getattr(args, name) for name in names}
    settings["samples"] = str(args.samples.resolve())
    settings["tests"] = {task: [item.id for item in items] for task, items in tests.items()}
    path = args.output / "results.jsonl"
    if not path.exists():
        own = args.output / f"settings-{os.getpid()}.json"
        own.write_text(json.dumps({"settings": settings}) + "\n")
        # If several processes start at once, one of them makes the file, with the whole line.
        with suppress(FileExistsError):
            os.link(own, path)
        own.unlink()
    rows = [x[1] for x in stream_rows(path) if not isinstance(x, Reject)]
    if rows[0].get("settings") != settings:
        differ = [x for x in settings if rows[0].get("settings", {}).get(x) != settings[x]]
        raise ValueError(f"{path} was made with other {', '.join(differ)}; name another --output")
    return {(row["method"], row["seed"]): row for row in rows[1:]}


def _sorted(rows: dict[tuple[str, int], dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """The results by method and seed; processes write them in the order in which they finish."""
    order = (*METHODS, *EXTRA)
    return dict(sorted(rows.items(), key=lambda row: (order.index(row[0][0]), row[0][1])))


if __name__ == "__main__":
    sys.exit(main())
