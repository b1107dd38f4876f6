r"""Small reward models trained on a large one's labels or on answers, chosen actively or at random.

    python -m benchmarks.papers.supervision teachers --output runs/sums --kind arithmetic \
        --plot teachers.svg
    python -m benchmarks.papers.supervision active --output runs/sums --kind arithmetic

``teachers`` is small-scale supervision. The packaged process reward model, as PRM_large, labels
solutions that the tiny base sampled. From the base are trained a PRM on those labels, an ORM on
them (a solution is right if no step is wrong), and an ORM on final answers, each on equally many
solutions. ``active`` trains PRMs on solutions chosen by active learning and on random ones, with
exact labels, and compares best-of-N for each number of labels. Both start with one random solution
of each problem, which counts as labelled; no solution is labelled twice. With ``--selector`` the
first solutions are chosen by a model that has learnt final answers only, which need no labels.
``pools`` only samples.

Problems are generated as for training (never with target 24); solutions are samples of the base at
temperature 1. Models are tested by best of N, on final answers only, with other generated problems
or with the Game of 24 in ``--input``. Samples and results stay in ``--output``, and another run
continues from there or only prints the table, so processes may split the seeds
(--first-seed 1 --seeds 1).

Source: Lightman et al. 2023, 2305.20050, section 4 and figure 4.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.papers.supervision_pools import Pools, load_pools
from benchmarks.papers.supervision_table import (
    draw_plot,
    limit_lines,
    sample_counts,
    summary_lines,
)
from reason_decode import OutcomeRewardModel, ProcessRewardModel, tiny
from reason_decode.evaluation.curves import best_of_n_curve
from reason_decode.io.console import table
from reason_decode.io.jsonl import write_json, write_text
from reason_decode.models.devices import default_device
from reason_decode.models.loading import load_padded_tokenizer, packaged
from reason_decode.scorers.base import reduce_scores
from reason_decode.training import (
    ActiveLearningConfig,
    LabelledSolution,
    ORMConfig,
    PRMConfig,
    active_learning,
    label_by_scorer,
    train_orm,
    train_prm,
)

BASE = str(packaged("base"))
# Solutions of a training step; on a CPU it has four forward passes.
_STEP_SIZE = 32
TEACHERS = ("PRM from PRM_large", "ORM from PRM_large", "ORM from answers")


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, label, train, test, print a table."""
    args = _arguments(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.device.type == "cuda":
        # TF32 products of float32 matrices are several times faster.
        torch.set_float32_matmul_precision("high")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    if args.experiment == "pools":
        for seed in [None, *seeds] if args.first_seed == 0 else seeds:
            load_pools(args, seed)
        return 0
    tests = load_pools(args, None)
    experiment = _compare_teachers if args.experiment == "teachers" else _compare_choices
    rows = [row for seed in seeds for row in experiment(args, seed, tests)]
    counts = sample_counts(args.pool)
    print(f"\nbest of N over {len(tests)} problems ({args.kind}), %; {args.seeds} seeds\n")
    print(table([*limit_lines(tests, counts), *summary_lines(rows, counts)]))
    write_json(args.output / f"{args.experiment}.json", rows)
    if args.plot:
        draw_plot(args.plot, args.kind, rows, counts)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add: Any = parser.add_argument
    add("experiment", choices=("teachers", "active", "pools"), help="see the module's docstring")
    add("--output", type=Path, required=True, help="folder of samples and models")
    add("--input", help="Game of 24 problems to test on, 24.csv (default: generated problems)")
    add("--rows", default="901:1001", help="FIRST:LAST of --input (default: 901:1001)")
    add("--kind", choices=("countdown", "arithmetic"), default="countdown", help="of problems")
    add("--tests", type=int, default=100, help="generated problems to test on (default: 100)")
    add("--pool", type=int, default=64, help="samples of a test problem (default: 64)")
    add("--problems", type=int, default=600, help="problems to learn from (default: 600)")
    add("--samples", type=int, default=32, help="samples of a problem to learn (default: 32)")
    add("--sample-batch-size", type=int, help="rows of a sampling batch (default: 256; GPU: 2048)")
    add("--plot", type=Path, help="draw the accuracy at the largest N to a .svg or .png file")
    _add_choices(add)
    add("--seeds", type=int, default=3, help="(default: 3)")
    add("--first-seed", type=int, default=0, help="(default: 0)")
    add("--epochs", type=float, default=4.0, help="epochs of training (default: 4)")
    add("--min-steps", type=int, default=400, help=f"least steps of {_STEP_SIZE} (default: 400)")
    add("--learning-rate", type=float, default=3e-4, help="(default: 0.0003)")
    add("--device", type=torch.device, default=default_device(), help="(default: %(default)s)")
    args = parser.parse_args(argv)
    if args.sample_batch_size is None:
        args.sample_batch_size = 256 if args.device.type == "cpu" else 2048
    return args


def _add_choices(add: Any) -> None:
    """Options of the solutions that are learnt."""
    add(
        "--sizes",
        type=int,
        nargs="+",
        default=[300, 1200, 4800],
        help="teachers: numbers of solutions (default: 300 1200 4800)",
    )
    add(
        "--active",
        type=int,
        nargs="*",
        default=[1],
        help="active: solutions of a problem in each round, one setting each (default: 1)",
    )
    add(
        "--uniform",
        type=int,
        nargs="*",
        default=[1, 3],
        help="active: random solutions of a problem, one setting each (default: 1 3)",
    )
    add("--rounds", type=int, default=1, help="active: rounds after the first (default: 1)")
    add(
        "--wrong-share",
        type=float,
        nargs="+",
        default=[0.8],
        help="active: share of chosen solutions with a wrong answer (default: 0.8)",
    )
    add(
        "--selector",
        type=int,
        default=0,
        help="active: training steps of a selector that learns answers (default: 0, none)",
    )
    add(
        "--neutral",
        choices=("positive", "negative"),
        default="positive",
        help="what a dead end counts as (default: positive, as in the paper)",
    )


def _settings(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Settings of a training config."""
    batch_size = _STEP_SIZE // 4 if args.device.type == "cpu" else _STEP_SIZE
    return {
        "num_train_epochs": args.epochs,
        "min_steps": args.min_steps,
        "batch_size": batch_size,
        "gradient_accumulation_steps": _STEP_SIZE // batch_size,
        "learning_rate": args.learning_rate,
        "seed": seed,
        "save_steps": 10**6,
    }


def _compare_teachers(args: argparse.Namespace, seed: int, tests: Pools) -> list[dict[str, Any]]:
    """Results of each teacher with each number of solutions."""
    solutions = [x for pool in load_pools(args, seed) for x in pool if x.steps]
    random.Random(f"teachers/{seed}").shuffle(solutions)
    large = tiny.load().verifier
    large.model.to(args.device)
    rows = list[dict[str, Any]]()
    if seed == 0:
        best = _test(args.output / "PRM_large.json", tests, lambda: large)
        rows.append({"way": "PRM_large itself", "size": 0, "solutions": 0, **best})
    most = solutions[: max(args.sizes)]
    # PRM_large labels only if some model is not trained yet.
    labels = {
        "PRM_large": cache(lambda: list(label_by_scorer(most, large))),
        "answers": lambda: most,
    }
    for size in args.sizes:
        for name in TEACHERS:
            folder = args.output / f"{name.replace(' ', '-')}-{size}-{seed}"
            teacher = labels[name.partition(" from ")[2]]
            student = partial(_train_student, args, name, teacher, size, folder, seed)
            best = _test(args.output / f"{folder.name}.json", tests, student)
            rows.append({"way": name, "size": size, "solutions": size, **best})
    return rows


def _train_student(
    args: argparse.Namespace,
    name: str,
    teacher: Callable[[], list[LabelledSolution]],
    size: int,
    folder: Path,
    seed: int,
) -> Any:
    """The reward model that learnt so many of a teacher's labels, trained if it is missing."""
    kind = ProcessRewardModel if name.startswith("PRM") else OutcomeRewardModel
    if not (folder / "config.json").exists():
        tokenizer, settings = load_padded_tokenizer(BASE), _settings(args, seed)
        if kind is ProcessRewardModel:
            train_prm(BASE, tokenizer, teacher()[:size], folder, PRMConfig(**settings))
        else:
            train_orm(BASE, tokenizer, teacher()[:size], folder, ORMConfig(**settings))
    return _load(kind, folder, args)


def _compare_choices(args: argparse.Namespace, seed: int, tests: Pools) -> list[dict[str, Any]]:
    """Results of random and of active choice, after each round."""
    pool = [x for each in load_pools(args, seed) for x in each if x.steps]
    settings = [("at random", count, 1, None) for count in args.uniform]
    settings += [
        ("actively", count, args.rounds, share)
        for count in args.active
        for share in args.wrong_share
    ]
    first, rows = None, list[dict[str, Any]]()
    selector = _train_selector(args, seed, pool) if args.selector else None
    if selector:
        load = partial(_load, ProcessRewardModel, selector, args)
        best = _test(selector / "best.json", tests, load)
        rows.append({"way": "answers alone", "size": 0, "solutions": 0, **best})
    for way, count, rounds, share in settings:
        name = way if share is None else f"{way}, {share:.0%} wrong"
        folder = args.output / f"{name.replace(' ', '-')}-{rounds}x{count}-{seed}"
        by = None if share is None else selector
        config = ActiveLearningConfig(
            rounds=rounds,
            per_problem=count,
            uniform=share is None,
            selector=None if by is None else str(by),
            **({} if share is None else {"wrong_share": share}),
        )
        if by is None and first and not folder.exists() and (first / "round-0").exists():
            _copy_first_round(first, folder, config)
        first = first or (None if by else folder)
        finished = active_learning(
            BASE,
            load_padded_tokenizer(BASE),
            pool,
            folder,
            config,
            PRMConfig(**_settings(args, seed)),
        )
        chosen: list[int] = []
        for row in finished:
            chosen += row["chosen"]
            # A random first round is the same for all settings.
            if row["round"] == 0 and not by and folder != first:
                continue
            load = partial(_load, ProcessRewardModel, folder / f"round-{row['round']}", args)
            best = _test(folder / f"best-{row['round']}.json", tests, load)
            size = {"solutions": row["solutions"], "labels": row["labels"]}
            right = mean(bool(pool[x].correct) for x in chosen)
            size |= {"size": (count if by else 1) + count * row["round"], "right": right}
            rows.append({"way": name if row["round"] or by else "at random", **size, **best})
    return rows


def _train_selector(args: argparse.Namespace, seed: int, pool: Sequence[LabelledSolution]) -> Path:
    """The folder of a PRM whose label of each step is whether the solution's answer is right."""
    folder = args.output / f"answers-{args.selector}-{seed}"
    if not (folder / "config.json").exists():
        labelled = [
            replace(x, labels=(1 if x.correct else -1,) * len(x.steps)) for x in dict.fromkeys(pool)
        ]
        random.Random(seed).shuffle(labelled)
        settings = {**_settings(args, seed), "num_train_epochs": 1, "min_steps": args.selector}
        some = labelled[: args.selector * _STEP_SIZE]
        train_prm(BASE, load_padded_tokenizer(BASE), some, folder, PRMConfig(**settings))
    return folder


def _copy_first_round(first: Path, folder: Path, config: ActiveLearningConfig) -> None:
    """Give a setting the first round of another one; a random first round is the same for all."""
    shutil.copytree(first / "round-0", folder / "round-0")
    line, *_ = (first / "rounds.jsonl").read_text().splitlines(keepends=True)
    write_text(folder / "rounds.jsonl", line)
    settings = json.loads((first / "rounds.jsonl.run" / "settings.json").read_text())
    own = {name: x for name, x in asdict(config).items() if name in settings}
    (folder / "rounds.jsonl.run").mkdir()
    write_json(folder / "rounds.jsonl.run" / "settings.json", settings | own)


def _load(kind: Any, folder: Path, args: argparse.Namespace) -> Any:
    scorer = kind.from_pretrained(folder)
    scorer.model.to(args.device)
    return scorer


def _test(path: Path, tests: Pools, load: Callable[[], Any]) -> dict[str, Any]:
    """Best of N by a scorer, kept in a file.

    Args:
        path: the file; if it exists, the scorer is not loaded.
        tests: the samples of each test problem.
        load: loads the scorer.

    Returns:
        ``counts``, and ``accuracy`` with a row for each problem.
    """
    counts = sample_counts(len(tests[0]))
    if path.exists():
        return json.loads(path.read_text())
    solutions = sorted({(x.prompt, x.steps) for pool in tests for x in pool if x.steps})
    scores = load().score([prompt for prompt, _ in solutions], [list(x) for _, x in solutions])
    totals = reduce_scores([torch.as_tensor(x) for x in scores], "prod").tolist()
    total_of = dict(zip(solutions, totals, strict=True))
    problems = [
        best_of_n_curve(
            [bool(x.correct) for x in pool],
            [total_of.get((x.prompt, x.steps), 0.0) for x in pool],
            counts,
        )
        for pool in tests
    ]
    best = {"counts": counts, "accuracy": problems}
    write_json(path, best)
    return best


if __name__ == "__main__":
    sys.exit(main())
