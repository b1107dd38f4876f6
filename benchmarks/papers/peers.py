"""Answers, tokens and seconds beside other libraries: same models, same scorer, same n.

    pip install --no-deps its_hub==1.2.0 llm-reasoners==1.0.2 optillm==0.4.0   # each optional
    git clone https://github.com/huggingface/search-and-learn                  # optional, too
    python -m benchmarks.papers.peers --data ../shared/data/game24/24.csv --rows 901:1001 \
        --search-and-learn search-and-learn

Three contests over a task's problems: the best of n whole solutions, a greedy search over n next
steps, the majority of n. Ours runs twice, one problem at a time, as the others do, and in batches.
The others get what favours them: each of their requests for n samples is one batched ``generate``,
n solutions are scored in one batch, and the voters are told the answers' canonical form. optillm
asks the model itself for a mark from 0 to 10; ours gives the scorer's. Its package needs flask,
openai and others besides; a library that can't be imported is left out, and named. "of CPU" is what
the process took of the seconds: other jobs on the machine lengthen it less than the clock's. "ours
more by" is the paired difference to our row one at a time, its interval over problems.
Checked first: the peers' scorer and ours agree on a solution.
"""

import argparse
import asyncio
import importlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.speed import search_and_learn
from reason_decode import BestOfN, SelfConsistency, StepSearch, tiny
from reason_decode.core.answers import answer_value, extract_answer
from reason_decode.evaluation import evaluate
from reason_decode.evaluation.metrics import bootstrap
from reason_decode.io.console import table
from reason_decode.io.journal import Journal, read_rows
from reason_decode.scorers.reduction import Reduce, reduce_scores
from reason_decode.tasks import TASKS, Item, Task

NEWLINE = "\n"
# Begins the last line of the packaged generator's solutions.
LAST = "Answer:"
Completer = Callable[["Bench", str], str]


@dataclass
class Bench:
    """The two models as the peers are given them, and what they have cost so far."""

    models: tiny.Tiny
    task: Task
    n: int
    steps: int
    read: int = 0
    sampled: int = 0
    scored: int = 0
    newline: int = field(init=False)

    def __post_init__(self) -> None:
        words: Any = self.models.tokenizer
        self.newline = words.convert_tokens_to_ids("Ċ")

    def write(self, texts: Sequence[str], *, line: bool) -> list[str]:
        """What the generator says after each text, to its end or to the end of the ``line``."""
        words: Any = self.models.tokenizer
        inputs = words(list(texts), return_tensors="pt", padding=True)
        ends = [words.eos_token_id, *([self.newline] if line else [])]
        limit = self.task.max_new_tokens
        out: Any = self.models.model.generate(
            **inputs, do_sample=True, top_k=0, max_new_tokens=limit, eos_token_id=ends
        )
        new = out[:, inputs["input_ids"].shape[1] :]
        lengths = (new != words.pad_token_id).sum(dim=1)
        # The last token of a row is sampled, and never read.
        self.read += int(inputs["attention_mask"].sum()) + int((lengths - 1).sum())
        self.sampled += int(lengths.sum())
        return words.batch_decode(new, skip_special_tokens=True)

    def judge(self, prompt: str, solutions: Sequence[str], how: Reduce) -> list[float]:
        """One number a solution: the score of its last step, or the product over all steps."""
        prm = self.models.prm
        steps = [prm.splitter.split(text) for text in solutions]
        self.scored += sum(len(prm.format.encode(prompt, x).ids) for x in steps)
        return reduce_scores(prm.score([prompt] * len(steps), steps), how).tolist()


def optillm_best(bench: Bench, prompt: str) -> str:
    """The ``best_of_n_sampling`` of optillm over a client of the two models."""
    module = importlib.import_module("optillm.bon")

    def create(messages: Any, n: int = 1, **_: Any) -> Any:
        said = [turn["content"] for turn in messages if turn["role"] == "assistant"]
        if said:
            return _completion([f"{10 * bench.judge(prompt, said[-1:], 'prod')[0]:.9f}"])
        return _completion(bench.write([prompt] * n, line=False))

    return module.best_of_n_sampling("", prompt, _client(create), "tiny", n=bench.n)[0]


def optillm_vote(bench: Bench, prompt: str) -> str:
    """The ``AdvancedSelfConsistency`` of optillm: the first text of the largest like cluster."""
    module = importlib.import_module("optillm.self_consistency")

    def create(**_: Any) -> Any:
        return _completion(bench.write([prompt], line=False))

    vote = module.AdvancedSelfConsistency(_client(create), "tiny", num_samples=bench.n)
    return vote.evaluate("", prompt)["aggregated_result"]["clusters"][0]["answer"]


def its_best(bench: Bench, prompt: str) -> str:
    """its_hub's ``BestOfN``."""
    api, bon = _its("api"), _its("core.algorithms.bon")

    class Judge(api.AbstractOutcomeRewardModel):
        async def ascore(self, conversations: Any, orchestrator: Any = None) -> Any:
            texts = [conversation[-1].content for conversation in conversations]
            return bench.judge(prompt, texts, "prod")

        def score(self, conversations: Any) -> Any:
            return asyncio.run(self.ascore(conversations))

    algorithm = bon.BestOfN(Judge(), _its_orchestrator())
    return asyncio.run(algorithm.ainfer(_its_writer(bench), prompt, budget=bench.n))["content"]


def its_search(bench: Bench, prompt: str) -> str:
    """its_hub's ``BeamSearch`` of width one."""
    api, lms = _its("api"), _its("core.lms.step_generation")
    search = _its("core.algorithms.beam_search")

    class Judge(api.AbstractProcessRewardModel):
        def score(self, prompt: Any, solutions: Any) -> Any:
            return bench.judge(prompt, solutions, "last")

        async def ascore(self, prompt: Any, solutions: Any) -> Any:
            return self.score(prompt, solutions)

    # It takes one step more than max_steps says.
    steps = lms.StepGeneration(bench.steps - 1, NEWLINE, stop_token=LAST, temperature=1.0)
    algorithm = search.BeamSearch(steps, Judge(), 1)
    return asyncio.run(algorithm.ainfer(_its_writer(bench), prompt, budget=bench.n))["content"]


def its_vote(bench: Bench, prompt: str) -> str:
    """its_hub's ``SelfConsistency`` over canonical answers."""
    vote = _its("core.algorithms.self_consistency")

    def answer(text: str) -> str:
        found = extract_answer(text) or ""
        return str(answer_value(found) or found)

    algorithm = vote.SelfConsistency(answer, orchestrator=_its_orchestrator())
    return asyncio.run(algorithm.ainfer(_its_writer(bench), prompt, budget=bench.n))["content"]


def reasoners_search(bench: Bench, prompt: str) -> str:
    """llm-reasoners' ``BeamSearch`` of width one; states are the lines so far."""
    base = importlib.import_module("reasoners.base")
    algorithm = importlib.import_module("reasoners.algorithm")

    class World(base.WorldModel):
        def init_state(self) -> Any:
            return ()

        def step(self, state: Any, action: Any) -> Any:
            return (*state, action[0]), {}

        def is_terminal(self, state: Any) -> bool:
            return bool(state) and LAST in state[-1]

    class Config(base.SearchConfig):
        def get_actions(self, state: Any) -> Any:
            text = "".join(f"{line}{NEWLINE}" for line in state)
            said = [x.strip() for x in bench.write([prompt + text] * bench.n, line=True)]
            scores = bench.judge(prompt, [text + line for line in said], "last")
            return list(zip(said, scores, strict=True))

        def reward(self, state: Any, action: Any, **_: Any) -> Any:
            return action[1], {}

    search = algorithm.BeamSearch(beam_size=1, max_depth=bench.steps)
    found = base.Reasoner(World(), Config(), search)(prompt)
    return NEWLINE.join(found.terminal_state)


def search_and_learns(search: Callable[..., str]) -> Completer:
    """search-and-learn's ``beam_search`` that keeps one beam; see `search_and_learn.load`."""

    def solve(bench: Bench, prompt: str) -> str:
        def write(texts: Sequence[str], line: bool) -> list[str]:
            return bench.write(texts, line=line)

        def judge(solutions: Sequence[str]) -> list[float]:
            return bench.judge(prompt, solutions, "last")

        return search("beam_search", prompt, write, judge, n=bench.n, steps=bench.steps)

    return solve


PEERS: dict[str, dict[str, Completer]] = {
    "best of n": {"its_hub": its_best, "optillm": optillm_best},
    "step search": {"its_hub": its_search, "llm-reasoners": reasoners_search},
    "majority": {"its_hub": its_vote, "optillm": optillm_vote},
}
MODULES = {"its_hub": "its_hub", "optillm": "optillm.bon", "llm-reasoners": "reasoners.algorithm"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run every contest and print the table."""
    args = _arguments(argv)
    logging.disable(logging.INFO)
    task = TASKS[args.task]
    items = task.load(args.data, args.rows)[0][: args.limit]
    models = tiny.load()
    _check(Bench(models, task, args.n, args.steps), items[0])
    absent = [name for name, module in MODULES.items() if not _importable(module)]
    peers = {contest: dict(solvers) for contest, solvers in PEERS.items()}
    if args.search_and_learn:
        search = search_and_learn.load(args.search_and_learn)
        peers["step search"]["search-and-learn"] = search_and_learns(search)
    contests = [
        (contest, name, solve)
        for contest in args.contests
        for name, solve in [("ours", None), ("ours, batched", None), *peers[contest].items()]
        if name not in absent
    ]
    store = (
        Journal(args.store, _names, "benchmarks/papers/peers.py") if args.store else nullcontext()
    )
    with store as journal:
        rows = _rows(args, contests, models, items, task, journal)
    print(table(rows))
    for name in absent:
        print(f"{name} can't be imported: its rows are left out")
    if not args.search_and_learn:
        print(search_and_learn.HOW_TO_GET)
    return 0


def _rows(
    args: argparse.Namespace,
    contests: Sequence[tuple[str, str, Completer | None]],
    models: tiny.Tiny,
    items: Sequence[Item],
    task: Task,
    journal: Journal | None,
) -> list[dict[str, str]]:
    """Run what the journal does not have yet; a line of the table for each contest and library."""
    done = {row["key"]: row for row in read_rows(journal.path, _names)} if journal else {}
    rows: list[dict[str, str]] = []
    # Of each contest the first runs, which the others are compared with.
    ours: list[dict[str, Any]] = []
    for contest, name, solve in tqdm(contests, unit="row", disable=None):
        n = args.n if contest == "step search" else 2 * args.n
        runs: list[dict[str, Any]] = []
        for seed in range(args.seeds):
            how = (n, args.steps, args.batch_size, args.task, args.rows, args.limit)
            key = json.dumps([contest, name, seed, *how])
            if key not in done:
                start = time.process_time()
                if solve is None:
                    size = args.batch_size if name == "ours, batched" else 1
                    run = _ours(models, items, task, contest, n, args.steps, size, seed)
                else:
                    run = _theirs(Bench(models, task, n, args.steps), items, solve, seed)
                done[key] = {"key": key, **run, "cpu": time.process_time() - start}
                if journal:
                    journal.append(done[key])
            runs.append(done[key])
        if name == "ours":
            ours = runs
        rows.append(_row(contest, name, n, runs, ours))
    return rows


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, default="game24")
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--contests", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--n", type=int, default=8, help="next steps; whole solutions are twice it")
    parser.add_argument("--steps", type=int, default=5, help="lines that a search may write")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--store", type=Path, help="finished runs, .jsonl: a second run goes on")
    parser.add_argument("--search-and-learn", metavar="FOLDER", help="its checkout")
    return parser.parse_args(argv)


def _ours(
    models: tiny.Tiny,
    items: Sequence[Item],
    task: Task,
    contest: str,
    n: int,
    steps: int,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    words, prm = models.tokenizer, models.prm
    strategy = {
        "best of n": BestOfN(prm, tokenizer=words, n=n, reduce="prod"),
        "step search": StepSearch(prm, tokenizer=words, n=n, max_steps=steps),
        "majority": SelfConsistency(tokenizer=words, n=n),
    }[contest]
    found = evaluate(
        models.model,
        words,
        strategy,
        items,
        task,
        batch_size=batch_size,
        temperature=1.0,
        seed=seed,
    )
    generator = found["cost"]["generator"]
    return {
        "right": [row["correct"] for row in found["rows"]],
        "read": generator["prefill"] + generator["decode"],
        "sampled": generator["sampled"],
        "scored": found["cost"]["scorer"]["read"],
        "seconds": found["seconds"],
    }


def _theirs(bench: Bench, items: Sequence[Item], solve: Completer, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    start = time.perf_counter()
    said = [solve(bench, item.prompt) for item in items]
    seconds = time.perf_counter() - start
    return {
        "right": [bench.task.grade(item, text) for item, text in zip(items, said, strict=True)],
        "read": bench.read,
        "sampled": bench.sampled,
        "scored": bench.scored,
        "seconds": seconds,
    }


def _row(
    contest: str,
    name: str,
    n: int,
    runs: Sequence[dict[str, Any]],
    ours: Sequence[dict[str, Any]],
) -> dict[str, str]:
    """A line of the table; ``ours`` are the runs of our row to compare with, of the same seeds."""
    own, beside = _share(runs), _share(ours)
    found, less = bootstrap([[x, y - x] for x, y in zip(own, beside, strict=True)])
    each = len(runs) * len(own)
    return {
        "contest": f"{contest} {n}",
        "library": name,
        "right, %": f"{100 * found.mean:.1f} ({100 * found.low:.0f}-{100 * found.high:.0f})",
        "ours more by": f"{100 * less.mean:+.1f} ({100 * less.low:+.0f} to {100 * less.high:+.0f})",
        **{key: f"{sum(run[key] for run in runs) / each:.0f}" for key in ("read", "sampled")},
        "scorer read": f"{sum(run['scored'] for run in runs) / each:.0f}",
        "s/problem": f"{sum(run['seconds'] for run in runs) / each:.3f}",
        "of CPU": f"{sum(run['cpu'] for run in runs) / each:.3f}",
    }


def _share(runs: Sequence[dict[str, Any]]) -> list[float]:
    # Of each problem over the seeds: problems are what the interval is about.
    return torch.tensor([run["right"] for run in runs], dtype=torch.float64).mean(dim=0).tolist()


def _names(run: Mapping[str, Any]) -> list[str]:
    return [run["key"]]


def _check(bench: Bench, item: Item) -> None:
    said = bench.write([item.prompt], line=False)
    steps = bench.models.prm.splitter.split(said[0])
    session = bench.models.prm.start_session([item.prompt])
    (ours,) = reduce_scores(session.score([[steps]])[0], "prod").tolist()
    (peers,) = bench.judge(item.prompt, said, "prod")
    if not math.isclose(ours, peers, abs_tol=1e-4):
        raise AssertionError(f"the peers' scorer says {peers} of {said[0]!r}, ours {ours}")


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _its(module: str) -> Any:
    return importlib.import_module(f"its_hub.{module}")


def _its_orchestrator() -> Any:
    # Without its semaphore all n requests are made at once, and can be one batch.
    return _its("core.orchestrator").LMOrchestrator(max_concurrency=-1)


def _its_writer(bench: Bench) -> Any:
    """its_hub's language model: requests that come in the same turn of the loop are one batch."""
    waiting: list[tuple[str, asyncio.Future[str]]] = []

    async def flush() -> None:
        await asyncio.sleep(0)
        batch, waiting[:] = waiting[:], []
        for (_, said), text in zip(
            batch, bench.write([text for text, _ in batch], line=False), strict=True
        ):
            said.set_result(text)

    class Writer(_its("api").AbstractLanguageModel):
        async def agenerate(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            texts = ["".join(turn.content for turn in turns) for turns in messages]
            lines = [text.strip() for text in bench.write(texts, line=True)]
            return [{"role": "assistant", "content": line} for line in lines]

        async def agenerate_single(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            waiting.append(("".join(turn.content for turn in messages), said))
            if len(waiting) == 1:
                tasks.append(asyncio.ensure_future(flush()))
            return {"role": "assistant", "content": await said}

    tasks: list[asyncio.Future[None]] = []
    return Writer()


def _client(create: Callable[..., Any]) -> Any:
    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))


def _completion(texts: Sequence[str]) -> Any:
    choices = [
        SimpleNamespace(message=SimpleNamespace(content=text), finish_reason="stop")
        for text in texts
    ]
    return SimpleNamespace(choices=choices, usage=SimpleNamespace(completion_tokens=0))


if __name__ == "__main__":
    sys.exit(main())
