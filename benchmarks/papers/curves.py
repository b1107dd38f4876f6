"""Accuracy against the number of samples, N = 1 to 256, by every way to pick among them.

    python -m benchmarks.papers.curves --samples ../shared/data/game24/gpt4_cot_samples.jsonl.gz \
        --store runs/gpt4.jsonl --plot runs/gpt4.png runs/gpt4.svg
    python -m benchmarks.papers.curves --data ../shared/data/game24/24.csv --rows 901:1001 \
        --pool 64 --store runs/hard.jsonl
    python -m benchmarks.papers.curves --task bbh-arithmetic --store runs/bbh.jsonl \
        --data ../shared/data/bbh/multistep_arithmetic_two.json

The first reads samples that another model wrote, the others sample. Samples and their scores are
appended to --store, and a rerun goes on from there: a run that was stopped, a larger --pool, one
more --prm or --orm. Each column of the table is a mean over problems with its 95 % interval,
bootstrapped over problems; the second table is the difference to the majority, paired.

Checked first: of the whole pool each column picks what ``rerank`` does, one sample is right as
often by every column, and none is above pass@N.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.papers.pools import Judge, Pool, PoolStore, fingerprint, sample, score
from reason_decode.core.answers import extract_answer
from reason_decode.evaluation import SamplePool, accuracy_curves, rerank
from reason_decode.evaluation.curves import answer_ids
from reason_decode.evaluation.metrics import Estimate, bootstrap, paired_bootstrap
from reason_decode.evaluation.rerank import SampledProblem, read_samples
from reason_decode.io.console import table
from reason_decode.io.jsonl import check_writable, write_json
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.prm_formats.token_classification import NEUTRAL
from reason_decode.scorers.reduction import Reduce, reduce_scores
from reason_decode.tasks import TASKS

Curves = dict[str, list[Estimate]]


class Way(NamedTuple):
    """One number a sample, made of a scorer's scores of its steps; ``votes``: it weighs votes."""

    name: str
    key: str
    reduce: Reduce
    votes: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Sample, score, check, print the tables, draw."""
    args = _arguments(argv)
    for path in [args.store, *args.plot, *([args.json] if args.json else [])]:
        check_writable(path)
    counted = args.neutral or [None]
    judges = [Judge("PRM", name, neutral) for name in args.prm for neutral in counted]
    judges += [Judge("ORM", name) for name in args.orm]
    pools = _read(args, judges) if args.samples else _sampled(args, judges)
    ways = _ways(judges)
    size = min(args.pool or 256, *(len(pool.texts) for pool in pools))
    problems = [_problem(pool, ways, size) for pool in pools]
    _check_picks(pools, problems, ways, size)
    counts = sorted({*(2**k for k in range(9) if 2**k <= size), size})
    weigh = [way.name for way in ways if way.votes]
    values = accuracy_curves(problems, counts, vote_weights=weigh, draws=args.draws, seed=args.seed)
    _check_laws(values, args.draws)
    curves = {name: bootstrap(rows) for name, rows in values.items()}
    beside = {name: rows for name, rows in values.items() if name not in ("pass@N", "majority")}
    differences = {
        name: paired_bootstrap(rows, values["majority"]) for name, rows in beside.items()
    }
    print(f"{len(problems)} problems, {size} samples each; accuracy in %\n")
    print(f"{_table(counts, curves, '.1f')}\n\nhigher than majority by\n")
    print(_table(counts, differences, "+.1f"))
    if args.json:
        write_json(args.json, {"counts": counts, "curves": curves, "gains": differences})
    for path in args.plot:
        _draw(path, args.title, counts, curves)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", help="samples of another model, as `rerank` reads them")
    source.add_argument("--data", help="the task's file, to sample solutions of its problems")
    parser.add_argument("--task", choices=TASKS, default="game24")
    parser.add_argument("--rows", help="of --data: FIRST:LAST")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument(
        "--pool", type=int, help="samples a problem (default: 64, or all there are)"
    )
    parser.add_argument("--chunk", type=int, default=64, help="samples drawn side by side")
    parser.add_argument("--model", default="tiny", help="that samples: tiny, a folder or a Hub id")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of samples and of votes")
    parser.add_argument("--prm", nargs="*", default=["tiny"], help="tiny, folders or Hub ids")
    parser.add_argument(
        "--neutral",
        nargs="*",
        choices=tuple(NEUTRAL),
        default=[],
        help="what the middle of a PRM's three labels counts as, one or more ways to compare "
        "(default: tiny's half, another's as the checkpoint says)",
    )
    parser.add_argument("--orm", nargs="*", default=[], help="tiny, folders or Hub ids")
    parser.add_argument("--draws", type=int, default=1000, help="orders in which a vote is held")
    parser.add_argument("--store", type=Path, required=True, help="where samples and scores grow")
    parser.add_argument("--json", type=Path, help="write both tables here")
    parser.add_argument("--plot", type=Path, nargs="+", default=[], help="files, .png or .svg")
    parser.add_argument("--title", help="of the plot")
    args = parser.parse_args(argv)
    for name in ("pool", "chunk", "draws", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"got --{name} {value}; need at least 1")
    if args.pool is not None and args.pool > 256:
        parser.error(f"got --pool {args.pool}; curves end at 256")
    if not 0 < args.temperature < float("inf"):
        parser.error(f"got --temperature {args.temperature}; sampling needs one above 0")
    if args.samples and args.rows:
        parser.error("--rows chooses from --data; of --samples take the first with --limit")
    return args


def _read(args: argparse.Namespace, judges: Sequence[Judge]) -> list[Pool]:
    problems, rejected = read_samples(args.samples, TASKS[args.task])
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
                    f"{args.store} holds other samples of problem {problem.id} than "
                    f"{args.samples}; name another --store"
                )
        ids = [problem.id for problem in problems]
        score(store, ids, judges)
        return [store.pools[id] for id in ids]


def _sampled(args: argparse.Namespace, judges: Sequence[Judge]) -> list[Pool]:
    task = TASKS[args.task]
    items, rejected = task.load(args.data, args.rows)
    for reject in rejected:
        print(f"set aside: row {reject.row}: {reject.reason}")
    items = items[: args.limit]
    how = {name: getattr(args, name) for name in ("model", "temperature", "seed")}
    weights = fingerprint(args.model, "base")
    with PoolStore(args.store, {"task": args.task, **how, "weights": weights}) as store:
        sample(store, task, items, size=args.pool or 64, chunk=args.chunk, **how)
        ids = [item.id for item in items]
        score(store, ids, judges)
        return [store.pools[id] for id in ids]


def _ways(judges: Sequence[Judge]) -> list[Way]:
    ways: list[Way] = []
    for judge in judges:
        several = len({other.name for other in judges if other.kind == judge.kind}) > 1
        name = f"{judge.kind} {judge.name.rstrip('/')}" if several else judge.kind
        if judge.neutral is not None:
            name += ", neutral " + {"positive": "+", "half": "½", "negative": "-"}[judge.neutral]
        if judge.kind == "ORM":
            ways.append(Way(name, judge.key, "last", True))
            continue
        reductions: tuple[Reduce, ...] = ("prod", "min", "last")
        ways += [Way(f"{name} {how}", judge.key, how, how == "prod") for how in reductions]
    return ways


def _problem(pool: Pool, ways: Sequence[Way], size: int) -> SamplePool:
    scores = {
        way.name: reduce_scores(_tensors(pool, way.key, size), way.reduce).tolist() for way in ways
    }
    answers = answer_ids([extract_answer(text) for text in pool.texts[:size]])
    return SamplePool(pool.correct[:size], answers, scores)


def _tensors(pool: Pool, key: str, size: int) -> list[Tensor]:
    return [torch.tensor(steps) for steps in pool.scores[key][:size]]


class _Replay(Scorer):
    """A scorer that repeats the scores it has given to the samples."""

    score_space: ScoreSpace = "probability"

    def __init__(self, pools: Sequence[Pool], key: str, size: int):
        self.known = {
            (pool.prompt, text): scores
            for pool in pools
            for text, scores in zip(pool.texts[:size], _tensors(pool, key, size), strict=True)
        }

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        return [self.known[pair] for pair in zip(prompts, solutions, strict=True)]


def _check_picks(
    pools: Sequence[Pool], problems: Sequence[SamplePool], ways: Sequence[Way], size: int
) -> None:
    """Raise if a curve's end is not what ``rerank`` picks; where equals tie, their mean is."""
    given = [
        SampledProblem(k, k, pool.prompt, tuple(pool.texts[:size]), tuple(pool.correct[:size]))
        for k, pool in enumerate(pools)
    ]
    weigh = [way.name for way in ways if way.votes]
    ends = accuracy_curves(problems, [size], vote_weights=weigh, draws=size)
    for way in ways:
        replay = _Replay(pools, way.key, size)
        for row in rerank(given, replay, reduce=way.reduce)["rows"]:
            _check_end(problems[row["id"]], way.name, row["best_of_n"], ends[way.name][row["id"]])
            if way.votes:
                (end,) = ends[f"{way.name} vote"][row["id"]]
                if end in (0, 1) and end != row["weighted_vote"]["right"]:
                    raise AssertionError(f"{way.name} vote, problem {row['id']}: rerank differs")


def _check_end(problem: SamplePool, way: str, pick: dict[str, Any], end: Sequence[float]) -> None:
    scores = problem.scores[way]
    equals = [k for k, value in enumerate(scores) if value == max(scores)]
    expected = mean(problem.correct[k] for k in equals)
    if pick["index"] not in equals or abs(end[0] - expected) > 1e-12:
        raise AssertionError(f"{way}: got {end[0]}, rerank picks sample {pick['index']}")


def _check_laws(values: dict[str, list[list[float]]], draws: int) -> None:
    for name, rows in values.items():
        for row, reach in zip(rows, values["pass@N"], strict=True):
            if abs(row[0] - reach[0]) > 1e-9:
                raise AssertionError(f"{name}: one sample is right in {row[0]}, not {reach[0]}")
            for value, most in zip(row, reach, strict=True):
                # Votes are sampled: six standard errors.
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
            # The bound of all others goes without an interval, which would cover theirs.
            axes.plot(counts, means, label=name, color="black", linestyle=":")
            continue
        style = "--" if name == "majority" or name.endswith(" vote") else "-"
        (line,) = axes.plot(counts, means, label=name, linestyle=style, marker=".")
        axes.fill_between(counts, lows, highs, color=line.get_color(), alpha=0.1, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_xlabel("samples a problem, N")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(bottom=0)
    axes.set_title(title or "")
    axes.grid(alpha=0.3)
    axes.legend()
    # The same picture is the same file, so that one under version control changes with its data.
    dated: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "curves"}):
        figure.savefig(path, dpi=150, **dated)


if __name__ == "__main__":
    sys.exit(main())
