r"""What teaches a small reward model: a large one's labels or answers, chosen well or at random.

    python -m benchmarks.papers.supervision teachers --out runs/sums --kind arithmetic \
        --plot teachers.svg
    python -m benchmarks.papers.supervision active --out runs/sums --kind arithmetic

`teachers` is the paper's small-scale supervision: the packaged process reward model, as PRM_large,
labels solutions that the tiny base sampled; from the base are trained a PRM on those labels, an ORM
on them (a solution is right if none of its steps is wrong), and an ORM on final answers, each on as
many solutions. `active` trains PRMs on solutions chosen by active learning and on ones chosen at
random, labelled exactly, and asks what best-of-N makes of each number of labels. Both ways begin
with one solution of each problem at random, which counts as labelled; no solution is labelled
twice. With --selector a model chooses from the beginning that has learnt final answers alone, which
take no labels: of every step of the pool, whether its solution's answer is right. `pools` only
samples.

Problems are made as for training (never with target 24), solutions are the base's own at
temperature 1; tested is best of N, by the final answer alone, on other made problems, or on the
Game of 24 where --data names its file. Samples and results stay in --out, and a rerun goes on
behind them, or only prints the table: so seeds may be run side by side (--first-seed 1 --seeds 1).
On a GPU, if there is one.

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
from tqdm import tqdm

from examples.tiny import arithmetic_problems, countdown_problems
from examples.tiny.sampled_solutions import grade_steps
from reason_decode import OutcomeRewardModel, ProcessRewardModel, tiny
from reason_decode.core.steps import StepSplitter
from reason_decode.evaluation.complete import complete
from reason_decode.evaluation.curves import best_of_n_curve, pass_curve
from reason_decode.evaluation.metrics import bootstrap
from reason_decode.io.console import table
from reason_decode.io.jsonl import write_json, write_text
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.scorers.reduction import reduce_scores
from reason_decode.tasks import TASKS, arithmetic, countdown
from reason_decode.training import (
    ActiveLearningConfig,
    LabelledSolution,
    ORMConfig,
    PRMConfig,
    active_learning,
    label_by_checker,
    label_by_scorer,
    train_orm,
    train_prm,
)

BASE = tiny.WEIGHTS / "base"
SEPARATOR = "\n"
# Of a solution at most: one of countdown has about sixty, one of a sum about two hundred.
_TOKENS = {"countdown": 100, "arithmetic": 256}
# Solutions of an optimizer step; of a forward pass on a CPU fewer, each of like lengths.
_STEP_SIZE = 32
TEACHERS = ("PRM from PRM_large", "ORM from PRM_large", "ORM from answers")
Pools = list[list[LabelledSolution]]


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, label, train, test; print a table."""
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.device.type == "cuda":
        # Products of float32 in TF32, which a GPU is several times faster at.
        torch.set_float32_matmul_precision("high")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    if args.experiment == "pools":
        for seed in [None, *seeds] if args.first_seed == 0 else seeds:
            _pools(args, seed)
        return 0
    tests = _pools(args, None)
    experiment = _teachers if args.experiment == "teachers" else _active
    rows = [row for seed in seeds for row in experiment(args, seed, tests)]
    counts = _counts(args.pool)
    print(f"\nbest of N over {len(tests)} problems ({args.kind}), %; {args.seeds} seeds\n")
    print(table([*_limits(tests, counts), *_summed(rows, counts)]))
    write_json(args.out / f"{args.experiment}.json", rows)
    if args.plot:
        _plot(args, rows, counts)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", choices=("teachers", "active", "pools"))
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
    parser.add_argument("--problems", type=int, default=600, help="to learn from")
    parser.add_argument("--samples", type=int, default=32, help="of each problem to learn from")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[300, 1200, 4800],
        help="teachers: solutions learnt from",
    )
    parser.add_argument(
        "--active",
        type=int,
        nargs="*",
        default=[1],
        help="active: solutions of each problem that a round adds, one setting each",
    )
    parser.add_argument(
        "--uniform", type=int, nargs="*", default=[1, 3], help="the same, chosen at random, once"
    )
    parser.add_argument("--rounds", type=int, default=1, help="active: after the first")
    parser.add_argument(
        "--wrong-share", type=float, nargs="+", default=[0.8], help="active: of chosen solutions"
    )
    parser.add_argument(
        "--selector", type=int, default=0, help="active: optimizer steps of a first one, of answers"
    )
    parser.add_argument(
        "--neutral",
        choices=("positive", "negative"),
        default="positive",
        help="countdown: what a dead end counts as (default: positive, as in the paper)",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--min-steps", type=int, default=400, help=f"of {_STEP_SIZE} solutions")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--device", type=torch.device, help="default: a GPU, if there is one")
    parser.add_argument("--at-once", type=int, help="solutions sampled side by side")
    parser.add_argument("--plot", type=Path, help="draw the curves of the largest N: .svg or .png")
    args = parser.parse_args(argv)
    args.device = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.at_once = args.at_once or (2048 if args.device.type == "cuda" else 256)
    return args


def _settings(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    batch_size = _STEP_SIZE if args.device.type == "cuda" else _STEP_SIZE // 4
    return {
        "num_train_epochs": args.epochs,
        "min_steps": args.min_steps,
        "batch_size": batch_size,
        "gradient_accumulation_steps": _STEP_SIZE // batch_size,
        "learning_rate": args.learning_rate,
        "seed": seed,
        "save_steps": 10**6,
    }


def _pools(args: argparse.Namespace, seed: int | None) -> Pools:
    """Samples of each problem with exact labels, to test on or of a seed to learn from."""
    size = args.pool if seed is None else args.samples
    if seed is not None:
        prompts = _made(args.kind, args.problems, f"train {seed}")
    elif args.data:
        items, _ = TASKS["game24"].load(args.data, args.rows)
        prompts = [item.prompt for item in items][: args.tests]
    else:
        prompts = _made(args.kind, args.tests, "test")
    name = f"{'test' if seed is None else f'train-{seed}'}-{len(prompts)}x{size}.jsonl"
    if not (args.out / name).exists():
        _sample(args, args.out / name, prompts, size, seed=10**6 if seed is None else seed)
    rows = [json.loads(line) for line in (args.out / name).read_text().splitlines()]
    if [row["prompt"] for row in rows] != prompts:
        raise ValueError(f"{args.out / name} holds other problems; name another --out")
    # Equal solutions are labelled once, for all that learn from them.
    found = cache(partial(_labelled, neutral=args.neutral))
    return [[found(row["prompt"], text) for text in row["texts"]] for row in rows]


def _sample(
    args: argparse.Namespace, path: Path, prompts: Sequence[str], size: int, seed: int
) -> None:
    """Draw samples of each problem into a file."""
    t = tiny.load()
    model = t.model.to(args.device)
    torch.manual_seed(seed)
    asked = [prompt for prompt in prompts for _ in range(size)]
    texts: list[str] = []
    how: dict[str, Any] = {"max_new_tokens": _TOKENS[args.kind], "temperature": 1.0}
    for start in tqdm(range(0, len(asked), args.at_once), desc=path.name, unit="batch"):
        batch = asked[start : start + args.at_once]
        texts += complete(model, t.tokenizer, None, batch, **how).texts
    rows = [
        {"prompt": prompt, "texts": texts[k * size : (k + 1) * size]}
        for k, prompt in enumerate(prompts)
    ]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _made(kind: str, count: int, seed: str) -> list[str]:
    rng = random.Random(f"supervision/{seed}")
    if kind == "arithmetic":
        return [arithmetic.format_prompt(arithmetic_problems.multi_step(rng)) for _ in range(count)]
    problems = dict.fromkeys(countdown_problems.solvable(rng) for _ in range(3 * count))
    return [countdown.format_prompt(*problem) for problem in problems][:count]


def _labelled(prompt: str, text: str, *, neutral: str) -> LabelledSolution:
    steps = tuple(StepSplitter(SEPARATOR).split(text))
    follows = partial(_follows, reach=neutral == "negative")
    (found,) = label_by_checker([LabelledSolution(prompt, steps, (None,) * len(steps))], follows)
    return replace(found, correct=_answers(prompt, steps))


def _follows(prompt: str, steps: Sequence[str], *, reach: bool) -> list[bool]:
    """Whether each line follows, up to the first that does not; with ``reach`` a dead end does not.

    A dead end is the paper's neutral step, which it counts as right where whole solutions are
    ranked: one with an answer was in none. But then nothing but the answer's own expression, which
    is hard to read, tells a solution that missed the target from one that did not.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        return grade_steps(prompt, steps)
    return countdown.grade_steps(*problem, steps, require_reachable=reach)


def _answers(prompt: str, steps: Sequence[str]) -> bool:
    """Whether the last line gives the right answer, whatever led to it."""
    last, problem = steps[-1] if steps else "", countdown.parse_prompt(prompt)
    if problem is not None:
        return last.startswith("Answer:") and countdown.is_answer(*problem, last)
    tree = arithmetic.parse(prompt.strip().removesuffix("="))
    return tree is not None and last == f"So the answer is {arithmetic.value_of(tree)}."


def _teachers(args: argparse.Namespace, seed: int, tests: Pools) -> list[dict[str, Any]]:
    """Each teacher with each number of solutions."""
    solutions = [x for pool in _pools(args, seed) for x in pool if x.steps]
    random.Random(f"teachers/{seed}").shuffle(solutions)
    large = tiny.load().verifier
    large.model.to(args.device)
    rows = list[dict[str, Any]]()
    if seed == 0:
        best = _best(args.out / "PRM_large.json", tests, lambda: large)
        rows.append({"way": "PRM_large itself", "size": 0, "solutions": 0, **best})
    most = solutions[: max(args.sizes)]
    # Asked only where something is left to train.
    said = {
        "PRM_large": cache(lambda: list(label_by_scorer(most, large))),
        "answers": lambda: most,
    }
    for size in args.sizes:
        for name in TEACHERS:
            folder = args.out / f"{name.replace(' ', '-')}-{size}-{seed}"
            teacher = said[name.partition(" from ")[2]]
            learnt = partial(_learnt, args, name, teacher, size, folder, seed)
            best = _best(args.out / f"{folder.name}.json", tests, learnt)
            rows.append({"way": name, "size": size, "solutions": size, **best})
    return rows


def _learnt(
    args: argparse.Namespace,
    name: str,
    teacher: Callable[[], list[LabelledSolution]],
    size: int,
    folder: Path,
    seed: int,
) -> Any:
    """What so many of a teacher's labels make of the base, in that folder."""
    kind = ProcessRewardModel if name.startswith("PRM") else OutcomeRewardModel
    if not (folder / "config.json").exists():
        words, settings = load_padded_tokenizer(str(BASE)), _settings(args, seed)
        if kind is ProcessRewardModel:
            train_prm(str(BASE), words, teacher()[:size], folder, PRMConfig(**settings))
        else:
            train_orm(str(BASE), words, teacher()[:size], folder, ORMConfig(**settings))
    return _loaded(kind, folder, args)


def _active(args: argparse.Namespace, seed: int, tests: Pools) -> list[dict[str, Any]]:
    """Every setting of both ways to choose, after each of its rounds."""
    pool = [x for each in _pools(args, seed) for x in each if x.steps]
    settings = [("at random", count, 1, None) for count in args.uniform]
    settings += [
        ("actively", count, args.rounds, share)
        for count in args.active
        for share in args.wrong_share
    ]
    words, first, rows = load_padded_tokenizer(str(BASE)), None, list[dict[str, Any]]()
    load = partial(_loaded, ProcessRewardModel)
    selector = _answered(args, seed, pool) if args.selector else None
    if selector:
        best = _best(selector / "best.json", tests, partial(load, selector, args))
        rows.append({"way": "answers alone", "size": 0, "solutions": 0, **best})
    for way, count, rounds, share in settings:
        named = way if share is None else f"{way}, {share:.0%} wrong"
        folder = args.out / f"{named.replace(' ', '-')}-{rounds}x{count}-{seed}"
        by = None if share is None else selector
        config = ActiveLearningConfig(
            rounds=rounds,
            per_problem=count,
            uniform=share is None,
            selector=None if by is None else str(by),
            **({} if share is None else {"wrong_share": share}),
        )
        if by is None and first and not folder.exists() and (first / "round-0").exists():
            _begin(first, folder, config)
        first = first or (None if by else folder)
        told = active_learning(
            str(BASE),
            words,
            pool,
            folder,
            config,
            PRMConfig(**_settings(args, seed)),
        )
        chosen: list[int] = []
        for row in told:
            chosen += row["chosen"]
            # A first round at random is the same for all.
            if row["round"] == 0 and not by and folder != first:
                continue
            best = _best(
                folder / f"best-{row['round']}.json",
                tests,
                partial(load, folder / f"round-{row['round']}", args),
            )
            size = {"solutions": row["solutions"], "labels": row["labels"]}
            right = mean(bool(pool[x].correct) for x in chosen)
            size |= {"size": (count if by else 1) + count * row["round"], "right": right}
            rows.append({"way": named if row["round"] or by else "at random", **size, **best})
    return rows


def _answered(args: argparse.Namespace, seed: int, pool: Sequence[LabelledSolution]) -> Path:
    """A model of the pool's final answers: of each step, whether its solution's is right."""
    folder = args.out / f"answers-{args.selector}-{seed}"
    if not (folder / "config.json").exists():
        # Equal solutions once.
        told = [
            replace(x, labels=(1 if x.correct else -1,) * len(x.steps)) for x in dict.fromkeys(pool)
        ]
        random.Random(seed).shuffle(told)
        settings = _settings(args, seed) | {"num_train_epochs": 1, "min_steps": args.selector}
        config, words = PRMConfig(**settings), load_padded_tokenizer(str(BASE))
        train_prm(str(BASE), words, told[: args.selector * _STEP_SIZE], folder, config)
    return folder


def _begin(first: Path, folder: Path, config: ActiveLearningConfig) -> None:
    """Start a run with the first round of another one: chosen at random, it is the same for all."""
    shutil.copytree(first / "round-0", folder / "round-0")
    line, *_ = (first / "rounds.jsonl").read_text().splitlines(keepends=True)
    write_text(folder / "rounds.jsonl", line)
    settings = json.loads((first / "rounds.jsonl.run" / "settings.json").read_text())
    own = {name: x for name, x in asdict(config).items() if name in settings}
    (folder / "rounds.jsonl.run").mkdir()
    write_json(folder / "rounds.jsonl.run" / "settings.json", settings | own)


def _loaded(kind: Any, folder: Path, args: argparse.Namespace) -> Any:
    scorer = kind.from_pretrained(folder)
    scorer.model.to(args.device)
    return scorer


def _best(path: Path, tests: Pools, load: Callable[[], Any]) -> dict[str, Any]:
    """Best of N by a scorer, each problem's accuracy at each N; kept in a file.

    Returns:
        ``counts`` and ``accuracy``, a row a problem.
    """
    counts = _counts(len(tests[0]))
    if path.exists():
        return json.loads(path.read_text())
    steps = {(x.prompt, x.steps or ("",)) for pool in tests for x in pool if x.steps}
    asked = sorted(steps)
    read = load().score([prompt for prompt, _ in asked], [list(x) for _, x in asked])
    totals = reduce_scores([torch.as_tensor(x) for x in read], "prod").tolist()
    found = dict(zip(asked, totals, strict=True))
    problems = [
        best_of_n_curve(
            [bool(x.correct) for x in pool],
            [found.get((x.prompt, x.steps), 0.0) for x in pool],
            counts,
        )
        for pool in tests
    ]
    best = {"counts": counts, "accuracy": problems}
    write_json(path, best)
    return best


def _limits(tests: Pools, counts: Sequence[int]) -> list[dict[str, str]]:
    """What a random pick and a perfect one make of the same pools."""
    right = [[bool(x.correct) for x in pool] for pool in tests]
    ways = {
        "random pick": [[mean(pool)] * len(counts) for pool in right],
        "perfect pick": [pass_curve(pool, counts) for pool in right],
    }
    return [_line(way, [], problems, counts) for way, problems in ways.items()]


def _summed(rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[dict[str, str]]:
    """One line a way and size: the mean over seeds and problems, intervals over problems."""
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in rows:
        groups.setdefault((row["way"], row["size"]), []).append(row)
    lines = []
    for (way, _), found in groups.items():
        problems = [
            [mean(values) for values in zip(*problem, strict=True)]
            for problem in zip(*[row["accuracy"] for row in found], strict=True)
        ]
        lines.append(_line(way, found, problems, counts))
    return lines


def _line(
    way: str, found: Sequence[dict[str, Any]], problems: Any, counts: Sequence[int]
) -> dict[str, str]:
    """A line of the table; of several seeds also what the last N came to in each."""
    size = f"{mean(row['solutions'] for row in found):.0f}" if found else "-"
    line = {"learnt from": way, "solutions": size, "steps labelled": "-", "right ones": "-"}
    if found and "labels" in found[0]:
        line["steps labelled"] = f"{mean(row['labels'] for row in found):.0f}"
        line["right ones"] = f"{100 * mean(row['right'] for row in found):.0f} %"
    for n, best in zip(counts, bootstrap(problems), strict=True):
        line[f"best of {n}"] = f"{100 * best.mean:.1f} ({100 * best.low:.1f}-{100 * best.high:.1f})"
    each = [f"{100 * mean(x[-1] for x in row['accuracy']):.1f}" for row in found]
    line[f"seeds at {counts[-1]}"] = " ".join(each) or "-"
    return line


def _plot(args: argparse.Namespace, rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> None:
    """The accuracy at the largest N over the number of solutions, each seed a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for k, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        own = [
            (row["solutions"], 100 * mean(x[-1] for x in row["accuracy"]))
            for row in rows
            if row["way"] == way
        ]
        if not own[0][0]:
            axes.axhline(own[0][1], color=f"C{k}", linestyle="--", label=way)
            continue
        sizes = sorted({size for size, _ in own})
        axes.plot(*zip(*own, strict=True), ".", color=f"C{k}", alpha=0.5)
        means = [mean(y for x, y in own if x == size) for size in sizes]
        axes.plot(sizes, means, color=f"C{k}", label=way)
    axes.set_xscale("log")
    axes.set_xlabel("solutions learnt from")
    axes.set_ylabel(f"best of {counts[-1]}, % right ({args.kind})")
    axes.legend()
    figure.savefig(args.plot)


def _counts(pool: int) -> list[int]:
    return [n for n in (1, 4, 16, 64, 256) if 1 < n <= pool]


if __name__ == "__main__":
    sys.exit(main())
