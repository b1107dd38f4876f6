"""What teaches a small reward model: a large one's labels or answers, chosen well or at random.

    python benchmarks/supervision.py teachers --out runs/teachers
    python benchmarks/supervision.py active --out runs/active

`teachers` is the paper's small-scale supervision: the packaged process reward model, as PRM_large,
labels solutions that the tiny base sampled; from the base are trained a PRM on those labels, an ORM
on them (a solution is right if none of its steps is wrong), and an ORM on final answers, each on as
many solutions. `active` trains PRMs in rounds on solutions chosen by active learning and on ones
chosen at random, labelled exactly, and asks what best-of-N makes of each number of labels.

Problems are made as for training (never with target 24), solutions are the base's own at
temperature 1; tested is best of N on the Game of 24 where --data names its file, else on other made
problems. Trained models stay in --out, and a rerun goes on behind them.

Source: Lightman et al. 2023, 2305.20050, section 4 and figure 4.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tqdm import tqdm

from reason_decode import OutcomeRewardModel, ProcessRewardModel, tiny
from reason_decode.cli.load import load_tokenizer
from reason_decode.cli.text import table
from reason_decode.evaluation import TASKS
from reason_decode.evaluation.complete import complete
from reason_decode.evaluation.curves import best_of_n_curve
from reason_decode.evaluation.files import write_text
from reason_decode.evaluation.metrics import bootstrap
from reason_decode.scorers.base import reduce_scores
from reason_decode.steps import StepSplitter
from reason_decode.strategies import SelfConsistency
from reason_decode.tiny import arithmetic, countdown
from reason_decode.tiny.sampled import ANSWERED, grade
from reason_decode.training import (
    Labelled,
    Recipe,
    label_by_checker,
    label_by_scorer,
    learn_actively,
    train_orm,
    train_prm,
)

BASE = tiny.WEIGHTS / "base"
SEPARATOR = "\n"
# Problems sampled from side by side.
_AT_ONCE = 16
# Of a solution at most: one of countdown has about sixty, one of a sum about two hundred.
_TOKENS = {"countdown": 100, "arithmetic": 256}
TEACHERS = ("PRM from PRM_large", "ORM from PRM_large", "ORM from answers")


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, label, train, test; print a table."""
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    tests = _pools(args, f"test-{args.pool}.jsonl", _tests(args), args.pool, seed=10**6)
    experiment = _teachers if args.experiment == "teachers" else _active
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    rows = [row for seed in seeds for row in experiment(args, seed, tests)]
    counts = _counts(args.pool)
    print(f"best of N over {len(tests)} problems, %; {args.seeds} seeds\n")
    print(table(_summed(rows, counts)))
    write_text(args.out / f"{args.experiment}.json", json.dumps(rows, indent=1) + "\n")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", choices=("teachers", "active"))
    parser.add_argument("--out", type=Path, required=True, help="folder of samples and models")
    parser.add_argument(
        "--data", help="Game of 24 problems to test on (24.csv); default: made ones"
    )
    parser.add_argument(
        "--kind", choices=("countdown", "arithmetic"), default="countdown", help="of made problems"
    )
    parser.add_argument("--rows", default="901:1001", help="of --data: FIRST:LAST")
    parser.add_argument("--tests", type=int, default=100, help="made problems to test on")
    parser.add_argument("--pool", type=int, default=64, help="samples of a problem to test on")
    parser.add_argument("--problems", type=int, default=300, help="to learn from")
    parser.add_argument("--samples", type=int, default=16, help="of each problem to learn from")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[300, 1200], help="teachers: solutions learnt from"
    )
    parser.add_argument("--rounds", type=int, default=2, help="active: after the first")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    return parser.parse_args(argv)


def _recipe(args: argparse.Namespace, seed: int) -> Recipe:
    return Recipe(
        epochs=args.epochs,
        batch=8,
        accumulate=4,
        learning_rate=args.learning_rate,
        seed=seed,
        save_every=10**6,
    )


def _tests(args: argparse.Namespace) -> list[str]:
    if args.data:
        items, _ = TASKS["game24"].load(args.data, args.rows)
        return [item.prompt for item in items][: args.tests]
    return _made(args.kind, args.tests, "test")


def _made(kind: str, count: int, seed: str) -> list[str]:
    rng = random.Random(f"supervision/{seed}")
    if kind == "arithmetic":
        return [arithmetic.prompt(arithmetic.problem(rng)) for _ in range(count)]
    problems = dict.fromkeys(countdown.solvable(rng) for _ in range(3 * count))
    return [countdown.prompt(*problem) for problem in problems][:count]


def _pools(
    args: argparse.Namespace, name: str, prompts: Sequence[str], size: int, seed: int
) -> list[list[Labelled]]:
    """Samples of each problem with exact labels; drawn once into a file of --out, then read."""
    path = args.out / name
    if not path.exists():
        t = tiny.load()
        torch.manual_seed(seed)
        vote = SelfConsistency(tokenizer=t.tokenizer, n=size)
        rows: list[str] = []
        how: dict[str, Any] = {"max_new_tokens": _TOKENS[args.kind], "temperature": 1.0}
        for start in tqdm(range(0, len(prompts), _AT_ONCE), desc=path.name, unit="batch"):
            batch = prompts[start : start + _AT_ONCE]
            done = complete(t.model, t.tokenizer, vote, batch, **how)
            for prompt, trace in zip(batch, done.traces or (), strict=True):
                texts = [c.text for c in trace.candidates]
                rows.append(json.dumps({"prompt": prompt, "texts": texts}) + "\n")
        write_text(path, "".join(rows))
    read = [json.loads(line) for line in path.read_text().splitlines()]
    return [[_labelled(row["prompt"], text) for text in row["texts"]] for row in read]


def _train_pools(args: argparse.Namespace, seed: int) -> list[list[Labelled]]:
    prompts = _made(args.kind, args.problems, f"train {seed}")
    return _pools(args, f"train-{seed}.jsonl", prompts, args.samples, seed)


def _labelled(prompt: str, text: str) -> Labelled:
    steps = tuple(StepSplitter(SEPARATOR).split(text))
    (found,) = label_by_checker([Labelled(prompt, steps, (None,) * len(steps))], _follows)
    answered = bool(steps) and steps[-1].startswith(ANSWERED)
    return replace(found, correct=answered and set(found.labels) == {1})


def _follows(prompt: str, steps: Sequence[str]) -> list[bool]:
    """Whether each line follows, up to the first that does not; a dead end is no mistake.

    The paper's neutral steps, which it counts as right: what is tested is the choice among whole
    solutions, and one with an answer was in no dead end.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        return grade(prompt, steps)
    return countdown.check(*problem, steps, reach=False)


def _teachers(args: argparse.Namespace, seed: int, tests: Any) -> list[dict[str, Any]]:
    """Each teacher with each number of solutions."""
    pools = _train_pools(args, seed)
    rng = random.Random(f"teachers/{seed}")
    solutions = [x for pool in pools for x in pool if x.steps]
    rng.shuffle(solutions)
    words, rows = load_tokenizer(str(BASE)), list[dict[str, Any]]()
    if seed == 0:
        rows.append(
            {"way": "PRM_large itself", "solutions": 0} | _best(tests, tiny.load().verifier.score)
        )
    for size in args.sizes:
        taught = list(label_by_scorer(solutions[:size], tiny.load().verifier))
        for name in TEACHERS:
            folder = args.out / f"{name.replace(' ', '-')}-{size}-{seed}"
            train = train_prm if name.startswith("PRM") else train_orm
            if not (folder / "config.json").exists():
                chosen = solutions[:size] if name.endswith("answers") else taught
                train(str(BASE), words, chosen, folder, recipe=_recipe(args, seed))
            kind = ProcessRewardModel if name.startswith("PRM") else OutcomeRewardModel
            score = kind.from_pretrained(folder).score
            rows.append({"way": name, "solutions": size, **_best(tests, score)})
    return rows


def _active(args: argparse.Namespace, seed: int, tests: Any) -> list[dict[str, Any]]:
    """Both ways to choose, after every round."""
    pools = _train_pools(args, seed)
    pool = [x for each in pools for x in each if x.steps]
    words, rows = load_tokenizer(str(BASE)), list[dict[str, Any]]()
    # Each round at random adds thrice as many: its second ends at over twice the labels.
    for name, per_problem in (("active", 1), ("uniform", 3)):
        folder = args.out / f"{name}-{seed}"
        told = learn_actively(
            str(BASE),
            words,
            pool,
            folder,
            rounds=args.rounds,
            per_problem=per_problem,
            uniform=name == "uniform",
            recipe=_recipe(args, seed),
        )
        for row in told:
            score = ProcessRewardModel.from_pretrained(folder / f"round-{row['round']}").score
            size = {"solutions": row["solutions"], "labels": row["labels"]}
            rows.append({"way": name, **size, **_best(tests, score)})
    return rows


def _best(tests: Sequence[Sequence[Labelled]], score: Callable[..., Any]) -> dict[str, Any]:
    """Best of N by a scorer, each problem's accuracy at each N: ``{"counts", "accuracy"}``."""
    counts = _counts(len(tests[0]))
    problems: list[list[float]] = []
    for pool in tests:
        steps = [list(x.steps) or [""] for x in pool]
        unique = {tuple(x): k for k, x in enumerate(steps)}
        asked = [list(x) for x in unique]
        read = score([pool[0].prompt] * len(asked), asked)
        totals = reduce_scores([torch.as_tensor(x) for x in read], "prod").tolist()
        found = dict(zip(unique, totals, strict=True))
        scores = [found[tuple(x)] for x in steps]
        problems.append(best_of_n_curve([bool(x.correct) for x in pool], scores, counts))
    return {"counts": counts, "accuracy": problems}


def _summed(rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[dict[str, str]]:
    """One line a way and size: the mean over seeds and problems, intervals over problems."""
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in rows:
        groups.setdefault((row["way"], _rounded(row["solutions"])), []).append(row)
    lines = []
    for (way, size), found in groups.items():
        seeds = [row["accuracy"] for row in found]
        problems = [
            [mean(values) for values in zip(*problem, strict=True)]
            for problem in zip(*seeds, strict=True)
        ]
        line = {"learnt from": way, "solutions": str(size or "-"), "seeds": str(len(seeds))}
        if "labels" in found[0]:
            line["steps labelled"] = f"{mean(row['labels'] for row in found):.0f}"
        for n, best in zip(counts, bootstrap(problems), strict=True):
            line[f"best of {n}"] = (
                f"{100 * best.mean:.1f} ({100 * best.low:.1f}-{100 * best.high:.1f})"
            )
        lines.append(line)
    return lines


def _counts(pool: int) -> list[int]:
    return [n for n in (4, 16, 64, 256) if n <= pool]


def _rounded(count: int) -> int:
    """Solutions without steps leave some rounds a few short; those are one line all the same."""
    return round(count, -1)


if __name__ == "__main__":
    sys.exit(main())
