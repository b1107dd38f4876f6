r"""Accuracy by the number of samples, N = 1 to 256, for every way to pick among them.

    python -m benchmarks.papers.curves --store runs/gpt4.jsonl \
        --samples ../shared/data/game24/gpt4_cot_samples.jsonl.gz --plot runs/gpt4.svg
    python -m benchmarks.papers.curves --input ../shared/data/game24/24.csv --rows 901:1001 \
        --pool 64 --store runs/hard.jsonl
    python -m benchmarks.papers.curves --task bbh-arithmetic --store runs/bbh.jsonl \
        --input ../shared/data/bbh/multistep_arithmetic_two.json

The first command reads samples that another model wrote; the others sample. Samples and their
scores are appended to ``--store``, and another run continues from there: after a stop, with a
larger ``--pool``, or with one more ``--scorer``. Each column of the table is a mean over problems
with its 95 % interval, by a bootstrap over problems. The second table has the paired differences to
the majority vote.

Checked first: with the whole pool each column picks what ``rerank`` picks, with one sample all
columns are equal, and none is above pass@N.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.papers.pools import (
    PoolStore,
    ScorerSpec,
    StoredSamples,
    fingerprint,
    sample,
    score,
)
from reason_decode.core.answers import extract_answer
from reason_decode.core.options import Reduce
from reason_decode.core.solutions import to_steps
from reason_decode.evaluation import SamplePool, accuracy_curves, rerank
from reason_decode.evaluation.curves import answer_ids
from reason_decode.evaluation.metrics import Estimate, bootstrap, paired_bootstrap
from reason_decode.evaluation.rerank import SampledProblem, read_samples
from reason_decode.io.console import table
from reason_decode.io.jsonl import check_writable, write_json
from reason_decode.scorers.base import Scorer, ScoreSpace, reduce_scores
from reason_decode.scorers.process import NEUTRAL
from reason_decode.tasks import TASKS, TaskOptions, find_task

Curves = dict[str, list[Estimate]]
"""Column -> its estimate at each N."""


class Column(NamedTuple):
    """One way to pick: a scorer and the reduction of its step scores.

    Attributes:
        name: the column's name.
        key: the scorer's key in the store.
        reduce: the reduction.
        votes: whether the totals also weight votes, in a column of their own.
    """

    name: str
    key: str
    reduce: Reduce
    votes: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, score, check, print the tables, draw."""
    args = _arguments(argv)
    for path in [args.store, *args.plot, *([args.output] if args.output else [])]:
        check_writable(path)
    scorers = _scorers(args)
    pools = _read(args, scorers) if args.samples else _sample(args, scorers)
    columns = _columns(scorers)
    size = min(args.pool or 256, *(len(pool.texts) for pool in pools))
    problems = [_problem(pool, columns, size) for pool in pools]
    _check_picks(pools, problems, columns, size)
    counts = sorted({*(2**k for k in range(9) if 2**k <= size), size})
    votes = [column.name for column in columns if column.votes]
    values = accuracy_curves(problems, counts, vote_weights=votes, draws=args.draws, seed=args.seed)
    _check_laws(values, args.draws)
    curves = {name: bootstrap(rows) for name, rows in values.items()}
    others = {name: rows for name, rows in values.items() if name not in ("pass@N", "majority")}
    gains = {name: paired_bootstrap(rows, values["majority"]) for name, rows in others.items()}
    print(f"{len(problems)} problems, {size} samples each; accuracy in %\n")
    print(f"{_table(counts, curves, '.1f')}\n\nhigher than majority by\n")
    print(_table(counts, gains, "+.1f"))
    if args.output:
        write_json(args.output, {"counts": counts, "curves": curves, "gains": gains})
    for path in args.plot:
        _draw(path, args.title, counts, curves)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", help="samples of another model, as `rerank` reads them")
    source.add_argument("--input", help="the task's file, to sample solutions of its problems")
    parser.add_argument(
        "--task",
        default="game24",
        help=f"one of {', '.join(TASKS)}, module:name or file.py:name (default: game24)",
    )
    parser.add_argument(
        "--no-chat", action="store_true", help="continue text, also where there is a chat template"
    )
    parser.add_argument("--rows", help="FIRST:LAST of --input (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument(
        "--pool", type=int, help="samples of a problem (default: 64, or all there are)"
    )
    parser.add_argument("--chunk", type=int, default=64, help="samples of a call (default: 64)")
    parser.add_argument(
        "--model", default="tiny", help="samples: tiny, a folder or a Hub id (default: tiny)"
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="(default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of samples and votes (default: 0)")
    parser.add_argument(
        "--scorer",
        nargs="+",
        default=["tiny"],
        help="reward models: tiny, FOLDER, prm=FOLDER or orm=FOLDER (default: tiny)",
    )
    parser.add_argument(
        "--neutral",
        nargs="*",
        choices=tuple(NEUTRAL),
        default=[],
        help="what the middle of a PRM's three labels counts as, one or more to compare "
        "(default: half for tiny, else as the checkpoint says)",
    )
    parser.add_argument(
        "--draws", type=int, default=1000, help="orders in which a vote is held (default: 1000)"
    )
    parser.add_argument("--store", type=Path, required=True, help=".jsonl file of samples, scores")
    parser.add_argument("--output", type=Path, help="write both tables to this .json file")
    parser.add_argument("--plot", type=Path, nargs="+", default=[], help=".png or .svg files")
    parser.add_argument("--title", help="title of the plot")
    args = parser.parse_args(argv)
    for name in ("pool", "chunk", "draws", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"got --{name} {value}; need at least 1")
    if args.pool is not None and args.pool > 256:
        parser.error(f"got --pool {args.pool}; need at most 256")
    if not 0 < args.temperature < float("inf"):
        parser.error(f"got --temperature {args.temperature}; need a finite number above 0")
    if args.samples and args.rows:
        parser.error("got --rows with --samples; use --limit, or --rows with --input")
    return args


def _scorers(args: argparse.Namespace) -> list[ScorerSpec]:
    """The scorers, process reward models once for each ``--neutral``."""
    specs = [ScorerSpec.parse(text) for text in args.scorer]
    return [
        spec._replace(neutral=neutral)
        for spec in specs
        for neutral in (args.neutral if spec.kind == "PRM" and args.neutral else [None])
    ]


def _read(args: argparse.Namespace, scorers: Sequence[ScorerSpec]) -> list[StoredSamples]:
    """The given samples, scored."""
    problems, rejected = read_samples(args.samples, find_task(TaskOptions(task=args.task)))
    for reject in rejected:
        print(f"set aside: line {reject.row}: {reject.reason}")
    problems = problems[: args.limit]
    source = {"task": args.task, "samples": Path(args.samples).name}
    with PoolStore(args.store, source) as store:
        for problem in problems:
            if problem.id not in store.pools:
                store.add_samples(problem.id, problem.prompt, problem.texts, problem.correct)
            elif store.pools[problem.id].texts != [*problem.texts]:
                raise ValueError(
                    f"{args.store} has other samples of problem {problem.id} than "
                    f"{args.samples}; name another --store"
                )
        ids = [problem.id for problem in problems]
        score(store, ids, scorers)
        return [store.pools[id] for id in ids]


def _sample(args: argparse.Namespace, scorers: Sequence[ScorerSpec]) -> list[StoredSamples]:
    """Samples of the model, scored."""
    task = find_task(TaskOptions(task=args.task))
    items, rejected = task.load(args.input, args.rows)
    for reject in rejected:
        print(f"set aside: row {reject.row}: {reject.reason}")
    items = items[: args.limit]
    options = {"model": args.model, "temperature": args.temperature, "seed": args.seed}
    weights = fingerprint(args.model, "base")
    source = {"task": args.task, **options, "weights": weights}
    source |= {"chat": False} if args.no_chat else {}
    with PoolStore(args.store, source) as store:
        size = args.pool or 64
        sample(store, task, items, size=size, chunk=args.chunk, chat=not args.no_chat, **options)
        ids = [item.id for item in items]
        score(store, ids, scorers)
        return [store.pools[id] for id in ids]


def _columns(scorers: Sequence[ScorerSpec]) -> list[Column]:
    columns: list[Column] = []
    for spec in scorers:
        several = len({other.name for other in scorers if other.kind == spec.kind}) > 1
        name = f"{spec.kind} {spec.name.rstrip('/')}" if several else spec.kind
        if spec.neutral is not None:
            name += ", neutral " + {"positive": "+", "half": "½", "negative": "-"}[spec.neutral]
        if spec.kind == "ORM":
            columns.append(Column(name, spec.key, "last", True))
            continue
        reductions: tuple[Reduce, ...] = ("prod", "min", "last")
        columns += [Column(f"{name} {x}", spec.key, x, x == "prod") for x in reductions]
    return columns


def _problem(pool: StoredSamples, columns: Sequence[Column], size: int) -> SamplePool:
    scores = {
        x.name: reduce_scores(_tensors(pool, x.key, size), x.reduce).tolist() for x in columns
    }
    answers = answer_ids([extract_answer(text) for text in pool.texts[:size]])
    return SamplePool(pool.correct[:size], answers, scores)


def _tensors(pool: StoredSamples, key: str, size: int) -> list[Tensor]:
    return [torch.tensor(steps) for steps in pool.scores[key][:size]]


class _StoredScorer(Scorer):
    """A scorer that repeats the scores in a store."""

    score_space: ScoreSpace = "probability"

    def __init__(self, pools: Sequence[StoredSamples], key: str, size: int):
        self.known = {
            (pool.prompt, tuple(self.splitter.split(text))): scores
            for pool in pools
            for text, scores in zip(pool.texts[:size], _tensors(pool, key, size), strict=True)
        }

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        steps = map(tuple, to_steps(solutions, self.splitter))
        return [self.known[pair] for pair in zip(prompts, steps, strict=True)]


def _check_picks(
    pools: Sequence[StoredSamples],
    problems: Sequence[SamplePool],
    columns: Sequence[Column],
    size: int,
) -> None:
    """Raise unless the end of each curve is what ``rerank`` picks, or the mean of tied picks."""
    given = [
        SampledProblem(k, k, pool.prompt, tuple(pool.texts[:size]), tuple(pool.correct[:size]))
        for k, pool in enumerate(pools)
    ]
    votes = [column.name for column in columns if column.votes]
    ends = accuracy_curves(problems, [size], vote_weights=votes, draws=size)
    for column in columns:
        scorer = _StoredScorer(pools, column.key, size)
        for row in rerank(given, scorer, reduce=column.reduce)["rows"]:
            end = ends[column.name][row["id"]]
            _check_end(problems[row["id"]], column.name, row["best_of_n"], end)
            if column.votes:
                (end,) = ends[f"{column.name} vote"][row["id"]]
                if end in (0, 1) and end != row["weighted_vote"]["right"]:
                    raise AssertionError(f"{column.name} vote, problem {row['id']}: rerank differs")


def _check_end(
    problem: SamplePool, column: str, pick: dict[str, Any], end: Sequence[float]
) -> None:
    scores = problem.scores[column]
    tied = [k for k, value in enumerate(scores) if value == max(scores)]
    expected = mean(problem.correct[k] for k in tied)
    if pick["index"] not in tied or abs(end[0] - expected) > 1e-12:
        raise AssertionError(f"{column}: got {end[0]}, rerank picks sample {pick['index']}")


def _check_laws(values: dict[str, list[list[float]]], draws: int) -> None:
    """Raise unless all columns start at the share of right samples and stay below pass@N."""
    for name, rows in values.items():
        for row, passed in zip(rows, values["pass@N"], strict=True):
            if abs(row[0] - passed[0]) > 1e-9:
                raise AssertionError(f"{name}: one sample is right in {row[0]}, not {passed[0]}")
            for value, most in zip(row, passed, strict=True):
                # Votes are sampled, so six standard errors are allowed.
                if value > most + 6 * (max(most * (1 - most), 0) / draws) ** 0.5 + 1e-9:
                    raise AssertionError(f"{name}: {value} is above pass@N, {most}")


def _table(counts: Sequence[int], curves: Curves, form: str) -> str:
    def cell(estimate: Estimate) -> str:
        mean, low, high = (format(100 * x, form) for x in estimate)
        return f"{mean} ({low} to {high})" if form[0] == "+" else f"{mean} ({low}-{high})"

    rows = [
        {"N": n, **{name: cell(estimates[k]) for name, estimates in curves.items()}}
        for k, n in enumerate(counts)
    ]
    return table(rows)


def _draw(path: Path, title: str | None, counts: Sequence[int], curves: Curves) -> None:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, estimates in curves.items():
        means, lows, highs = ([100 * x for x in column] for column in zip(*estimates, strict=True))
        if name == "pass@N":
            # No interval for the upper bound, which would cover those of the others.
            axes.plot(counts, means, label=name, color="black", linestyle=":")
            continue
        style = "--" if name == "majority" or name.endswith(" vote") else "-"
        (line,) = axes.plot(counts, means, label=name, linestyle=style, marker=".")
        axes.fill_between(counts, lows, highs, color=line.get_color(), alpha=0.1, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_xlabel("samples of a problem, N")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(bottom=0)
    axes.set_title(title or "")
    axes.grid(alpha=0.3)
    axes.legend()
    # Without date and random ids, equal data give an equal file under version control.
    metadata: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "curves"}):
        figure.savefig(path, dpi=150, **metadata)


if __name__ == "__main__":
    sys.exit(main())
