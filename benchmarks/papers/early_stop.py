r"""Samples saved by stopping a vote early, replayed on given samples.

    python -m benchmarks.papers.early_stop --samples ../shared/data/math_samples/gpt4.jsonl.gz
    python -m benchmarks.papers.early_stop --task bbh-arithmetic \
        --input ../shared/data/bbh/multistep_arithmetic_two.json

The second command first samples 16 solutions of each problem from the packaged model. The samples
of a problem are voted on one after the other, in their order. Each row is one rule, with the share
of the samples that it used and how often its winner is right. "hold" is the rule of
``SelfConsistency(early_stop=...)``; "lead" is the published rule of adaptive consistency (Aggarwal
et al. 2023, 2305.11860), which does not know how many samples remain. Checked first: a rule that
waits until the vote is decided elects the winner of all samples.
"""

import argparse
import gzip
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from reason_decode import SelfConsistency, tiny
from reason_decode.core.answers import extract_answer, same_answer
from reason_decode.core.voting import EarlyStop, VoteResult, is_decided, majority_vote, should_stop
from reason_decode.evaluation.complete import complete
from reason_decode.io.console import table
from reason_decode.tasks import TASKS, Item, Task

Rule = Callable[[Sequence[float], int], bool]
"""``(counts, remaining)`` -> whether to stop, given the votes so far and the remaining samples."""
Replay = tuple[set[str], list[str | None]]
"""The right answers among those of a problem's samples, and the answer of each sample."""

_BATCH_SIZE = 8


def hold(counts: Sequence[float], remaining: int, early_stop: EarlyStop | None) -> bool:
    """True if our rule stops, as it is called while decoding."""
    return should_stop(counts, remaining, early_stop)


def lead(counts: Sequence[float], remaining: int, least: float) -> bool:
    """True if the vote is decided or ``P(p > 1/2) >= least`` for ``p ~ Beta(first+1, second+1)``.

    Args:
        counts: votes of each answer so far.
        remaining: samples that have not voted.
        least: the probability at which to stop.
    """
    first, second = (int(x) for x in sorted([*counts, 0.0, 0.0], reverse=True)[:2])
    coins = first + second + 1
    chance = sum(math.comb(coins, heads) for heads in range(first + 1)) / 2**coins
    return is_decided(counts, remaining) or (first > 0 and chance >= least)


RULES: dict[str, Rule] = {
    "all": partial(hold, early_stop=None),
    "decided": partial(hold, early_stop="decided"),
    **{f"hold {p}": partial(hold, early_stop=p) for p in (0.99, 0.95, 0.93, 0.9, 0.85)},
    **{f"lead {p}": partial(lead, least=p) for p in (0.95, 0.9, 0.8)},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Replay every rule on every problem and print the table."""
    args = _arguments(argv)
    if args.task:
        torch.manual_seed(0)
        items = TASKS[args.task].load(args.input, None)[0][: args.limit]
        problems = _sample(TASKS[args.task], items, args.n)
    else:
        problems = _read(args.samples, args.limit)
    used = dict.fromkeys(RULES, 0)
    right = dict.fromkeys(RULES, 0)
    count = 0
    for truth, answers in tqdm(problems, unit="problem", disable=None):
        count += 1
        votes = [majority_vote(answers[:k], _equal) for k in range(1, len(answers) + 1)]
        winners: dict[str, str | None] = {}
        for name, rule in RULES.items():
            voters = _voters(votes, rule)
            winner = winners[name] = votes[voters - 1].answer
            used[name] += voters
            right[name] += winner is not None and winner in truth
        if winners["decided"] != winners["all"]:
            raise AssertionError(f"problem {count}: {winners['decided']!r} != {winners['all']!r}")
    rows = [
        {
            "rule": name,
            "samples": f"{100 * used[name] / used['all']:.1f} %",
            "accuracy": f"{100 * right[name] / count:.2f} %",
            "change": f"{100 * (right[name] - right['all']) / count:+.2f}",
        }
        for name in RULES
    ]
    print(table(rows))
    print(f"{count} problems, {used['all'] // count} samples each")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", type=Path, help="problems with their samples, .jsonl.gz")
    source.add_argument("--task", choices=TASKS, help="a task, for the packaged model to sample")
    parser.add_argument("--input", help="the task's file")
    parser.add_argument(
        "--n", type=int, default=16, help="samples of each of the task's items (default: 16)"
    )
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    return parser.parse_args(argv)


def _voters(votes: Sequence[VoteResult], rule: Rule) -> int:
    """Number of samples after which a rule stops, given the vote after each sample."""
    for k, vote in enumerate(votes[:-1], 1):
        if rule([*vote.weights.values()], len(votes) - k):
            return k
    return len(votes)


def _read(path: Path, limit: int | None) -> Iterator[Replay]:
    """Problems of a file of samples; those without a stated answer are left out."""
    with gzip.open(path, "rt") as lines:
        for k, line in enumerate(lines):
            if limit is not None and k >= limit:
                return
            row = json.loads(line)
            truth = extract_answer(row["answer"])
            if truth is None:
                continue
            answers = _merge_equal([extract_answer(text) for text in row["generated_answer"]])
            yield {x for x in answers if x is not None and same_answer(x, truth)}, answers


def _sample(task: Task, items: Sequence[Item], n: int) -> Iterator[Replay]:
    """Problems of a task with samples of the packaged model."""
    models = tiny.load()
    vote = SelfConsistency(tokenizer=models.tokenizer, n=n)
    for start in range(0, len(items), _BATCH_SIZE):
        batch = items[start : start + _BATCH_SIZE]
        completions = complete(
            models.model,
            models.tokenizer,
            vote,
            [item.prompt for item in batch],
            max_new_tokens=task.max_new_tokens,
            temperature=1.0,
        )
        for item, trace in zip(batch, completions.traces or (), strict=True):
            texts = [candidate.text for candidate in trace.candidates]
            answers = _merge_equal([extract_answer(text) for text in texts])
            graded = zip(answers, texts, strict=True)
            yield {x for x, text in graded if x is not None and task.grade(item, text)}, answers


def _merge_equal(answers: Sequence[str | None]) -> list[str | None]:
    """The answers with each replaced by the first one that equals it."""
    heads: dict[str, str] = {}
    for answer in answers:
        if answer is not None and answer not in heads:
            known = dict.fromkeys(heads.values())
            heads[answer] = next((x for x in known if same_answer(x, answer)), answer)
    return [None if answer is None else heads[answer] for answer in answers]


def _equal(a: str, b: str) -> bool:
    return a == b


if __name__ == "__main__":
    sys.exit(main())
