r"""Answers, tokens and seconds beside other libraries: same models, same scorer, same n.

    pip install --no-deps its_hub==1.2.0 llm-reasoners==1.0.2 optillm==0.4.0   # each optional
    git clone https://github.com/huggingface/search-and-learn                  # optional
    python -m benchmarks.papers.peers --input ../shared/data/game24/24.csv --rows 901:1001 \
        --search-and-learn search-and-learn

Three contests over the problems of a task: the best of n whole solutions, a greedy search over n
next steps, and the majority of n. Ours runs twice, one problem at a time, as the others do, and in
batches. The others get favourable conditions: each of their requests for n samples is one batched
``generate``, n solutions are scored in one batch, and voters get answers in canonical form. optillm
asks the model itself for a mark from 0 to 10; here it gets the scorer's score. Its package also
needs flask, openai and others; a library that cannot be imported is left out and named.

"of CPU" is the process time, which depends less on other jobs of the machine than wall time. "ours
more by" is the paired difference to our row of one problem at a time, with its interval over
problems. Checked first: the scorer gives a solution the same score by both ways.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.papers.peer_libraries import (
    MODULES,
    PEERS,
    CountedModels,
    Solver,
    is_importable,
    search_and_learn_search,
)
from benchmarks.speed import search_and_learn
from reason_decode import BestOfN, SelfConsistency, StepSearch, tiny
from reason_decode.evaluation import evaluate
from reason_decode.evaluation.metrics import bootstrap
from reason_decode.io.console import table
from reason_decode.io.journal import Journal, read_rows
from reason_decode.scorers.base import reduce_scores
from reason_decode.tasks import TASKS, Item, Task

Row = tuple[str, str, Solver | None]
"""Contest, library, and its solver; ``None`` for ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run every contest and print the table."""
    args = _arguments(argv)
    logging.disable(logging.INFO)
    task = TASKS[args.task]
    items = task.load(args.input, args.rows)[0][: args.limit]
    models = tiny.load()
    _check_scores(CountedModels(models, task, args.n, args.steps), items[0])
    absent = [name for name, module in MODULES.items() if not is_importable(module)]
    rows = [row for row in _rows(args) if row[1] not in absent]
    store = (
        Journal(args.store, _keys, "benchmarks/papers/peers.py") if args.store else nullcontext()
    )
    with store as journal:
        print(table(_run(args, rows, models, items, task, journal)))
    for name in absent:
        print(f"{name} can't be imported: its rows are left out")
    if not args.search_and_learn:
        print(search_and_learn.HOW_TO_GET)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, default="game24", help="(default: game24)")
    parser.add_argument("--input", required=True, help="the task's file")
    parser.add_argument("--rows", help="FIRST:LAST of the file (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many items")
    parser.add_argument(
        "--contests", nargs="+", choices=PEERS, default=list(PEERS), help="(default: all)"
    )
    parser.add_argument(
        "--n",
        type=int,
        default=8,
        help="next steps; whole solutions are twice as many (default: 8)",
    )
    parser.add_argument(
        "--steps", type=int, default=5, help="lines that a search may write (default: 5)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, help="prompts a batch of ours (default: 16)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of a row (default: 3)")
    parser.add_argument("--store", type=Path, help=".jsonl file of finished runs, to resume from")
    parser.add_argument("--search-and-learn", metavar="FOLDER", help="a checkout of it")
    return parser.parse_args(argv)


def _rows(args: argparse.Namespace) -> list[Row]:
    """The rows of each contest, ours first."""
    peers = {contest: dict(solvers) for contest, solvers in PEERS.items()}
    if args.search_and_learn:
        search = search_and_learn.load(args.search_and_learn)
        peers["step search"]["search-and-learn"] = search_and_learn_search(search)
    return [
        (contest, name, solver)
        for contest in args.contests
        for name, solver in [("ours", None), ("ours, batched", None), *peers[contest].items()]
    ]


def _run(
    args: argparse.Namespace,
    rows: Sequence[Row],
    models: tiny.Tiny,
    items: Sequence[Item],
    task: Task,
    journal: Journal | None,
) -> list[dict[str, str]]:
    """Make the runs that the journal does not have; a line of the table for each row."""
    done = {run["key"]: run for run in read_rows(journal.path, _keys)} if journal else {}
    lines: list[dict[str, str]] = []
    # The runs of our first row of each contest, which the other rows are compared with.
    ours: list[dict[str, Any]] = []
    for contest, name, solver in tqdm(rows, unit="row", disable=None):
        n = args.n if contest == "step search" else 2 * args.n
        runs: list[dict[str, Any]] = []
        for seed in range(args.seeds):
            options = (n, args.steps, args.batch_size, args.task, args.rows, args.limit)
            key = json.dumps([contest, name, seed, *options])
            if key not in done:
                start = time.process_time()
                if solver is None:
                    strategy = _strategy(contest, models, n, args.steps)
                    size = args.batch_size if name == "ours, batched" else 1
                    run = _run_ours(models, items, task, strategy, size, seed)
                else:
                    run = _run_peer(CountedModels(models, task, n, args.steps), items, solver, seed)
                done[key] = {"key": key, **run, "cpu": time.process_time() - start}
                if journal:
                    journal.append(done[key])
            runs.append(done[key])
        if name == "ours":
            ours = runs
        lines.append(_line(f"{contest} {n}", name, runs, ours))
    return lines


def _strategy(contest: str, models: tiny.Tiny, n: int, steps: int) -> Any:
    tokenizer, prm = models.tokenizer, models.prm
    return {
        "best of n": BestOfN(prm, tokenizer=tokenizer, n=n, reduce="prod"),
        "step search": StepSearch(prm, tokenizer=tokenizer, n=n, max_steps=steps),
        "majority": SelfConsistency(tokenizer=tokenizer, n=n),
    }[contest]


def _run_ours(
    models: tiny.Tiny,
    items: Sequence[Item],
    task: Task,
    strategy: Any,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    result = evaluate(
        models.model,
        models.tokenizer,
        strategy,
        items,
        task,
        batch_size=batch_size,
        temperature=1.0,
        seed=seed,
    )
    generator = result["cost"]["generator"]
    return {
        "right": [row["correct"] for row in result["rows"]],
        "read": generator["prefill"] + generator["decode"],
        "sampled": generator["sampled"],
        "scored": result["cost"]["scorer"]["read"],
        "seconds": result["seconds"],
    }


def _run_peer(
    models: CountedModels, items: Sequence[Item], solver: Solver, seed: int
) -> dict[str, Any]:
    torch.manual_seed(seed)
    start = time.perf_counter()
    texts = [solver(models, item.prompt) for item in items]
    seconds = time.perf_counter() - start
    return {
        "right": [models.task.grade(item, text) for item, text in zip(items, texts, strict=True)],
        "read": models.read,
        "sampled": models.sampled,
        "scored": models.scored,
        "seconds": seconds,
    }


def _line(
    contest: str, name: str, runs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """A line of the table.

    Args:
        contest: the contest with its n.
        name: the library.
        runs: the runs of this row, one for each seed.
        ours: the runs of our first row, of the same seeds.
    """
    own, reference = _accuracy(runs), _accuracy(ours)
    found, less = bootstrap([[x, y - x] for x, y in zip(own, reference, strict=True)])
    items = len(runs) * len(own)
    return {
        "contest": contest,
        "library": name,
        "right, %": f"{100 * found.mean:.1f} ({100 * found.low:.0f}-{100 * found.high:.0f})",
        "ours more by": f"{100 * less.mean:+.1f} ({100 * less.low:+.0f} to {100 * less.high:+.0f})",
        **{key: f"{sum(run[key] for run in runs) / items:.0f}" for key in ("read", "sampled")},
        "scorer read": f"{sum(run['scored'] for run in runs) / items:.0f}",
        "s/problem": f"{sum(run['seconds'] for run in runs) / items:.3f}",
        "of CPU": f"{sum(run['cpu'] for run in runs) / items:.3f}",
    }


def _accuracy(runs: Sequence[dict[str, Any]]) -> list[float]:
    """The accuracy of each problem over the seeds; the interval is over problems."""
    return torch.tensor([run["right"] for run in runs], dtype=torch.float64).mean(dim=0).tolist()


def _keys(run: Mapping[str, Any]) -> list[str]:
    return [run["key"]]


def _check_scores(models: CountedModels, item: Item) -> None:
    """Raise unless a session and a call of the scorer give a solution the same score."""
    (text,) = models.write([item.prompt], line=False)
    steps = models.models.prm.splitter.split(text)
    session = models.models.prm.start_session([item.prompt])
    (ours,) = reduce_scores(session.score([[steps]])[0], "prod").tolist()
    (peers,) = models.score(item.prompt, [text], "prod")
    if not math.isclose(ours, peers, abs_tol=1e-4):
        raise AssertionError(f"the peers' scorer gives {text!r} a score of {peers}, ours {ours}")


if __name__ == "__main__":
    sys.exit(main())
