"""What stopping a vote early saves, replayed on solutions that were sampled before.

    python benchmarks/early_stop.py --samples ../shared/data/math_samples/gpt4.jsonl.gz

Each problem's samples are asked one after the other in their order. Each row is one rule: how many
samples it asked for, how often the winner is right, both beside the vote of all. "hold" is what
``SelfConsistency(stop=...)`` does; "lead" is adaptive consistency's published rule (Aggarwal et al.
2023, 2305.11860), which does not know how many are left. Checked first: a rule that waits until the
vote is decided must elect whom all would have elected.
"""

import argparse
import gzip
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from reason_decode.answers import extract_answer, same_answer
from reason_decode.cli.text import table
from reason_decode.voting import Stop, Votes, decided, majority, should_stop

Rule = Callable[[Sequence[float], int], bool]


def hold(counts: Sequence[float], left: int, stop: Stop | None) -> bool:
    """Ours, as it is called while decoding."""
    return should_stop(counts, left, stop)


def lead(counts: Sequence[float], left: int, least: float) -> bool:
    """P(p > 1/2) >= least for p ~ Beta(first + 1, second + 1)."""
    first, second = (int(x) for x in sorted([*counts, 0.0, 0.0], reverse=True)[:2])
    coins = first + second + 1
    chance = sum(math.comb(coins, heads) for heads in range(first + 1)) / 2**coins
    return decided(counts, left) or (first > 0 and chance >= least)


RULES: dict[str, Rule] = {
    "all": partial(hold, stop=None),
    "decided": partial(hold, stop="decided"),
    **{f"hold {p}": partial(hold, stop=p) for p in (0.99, 0.95, 0.9, 0.85)},
    **{f"lead {p}": partial(lead, least=p) for p in (0.95, 0.9, 0.8)},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Replay every rule on every problem and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="problems to read")
    args = parser.parse_args(argv)
    asked = dict.fromkeys(RULES, 0)
    right = dict.fromkeys(RULES, 0)
    count = 0
    for truth, answers in tqdm(_problems(args.samples, args.limit), unit="problem", disable=None):
        count += 1
        votes = [majority(answers[:k], _same) for k in range(1, len(answers) + 1)]
        winners: dict[str, str | None] = {}
        for name, rule in RULES.items():
            voters = _voters(votes, rule)
            winner = winners[name] = votes[voters - 1].answer
            asked[name] += voters
            right[name] += winner is not None and winner in truth
        if winners["decided"] != winners["all"]:
            raise AssertionError(f"problem {count}: {winners['decided']!r} != {winners['all']!r}")
    rows = [
        {
            "rule": name,
            "samples": f"{100 * asked[name] / asked['all']:.1f} %",
            "accuracy": f"{100 * right[name] / count:.2f} %",
            "change": f"{100 * (right[name] - right['all']) / count:+.2f}",
        }
        for name in RULES
    ]
    print(table(rows))
    print(f"{count} problems, {asked['all'] // count} samples each")
    return 0


def _voters(votes: Sequence[Votes], rule: Rule) -> int:
    """How many samples the rule asks for, given the votes after each of them."""
    for k, vote in enumerate(votes[:-1], 1):
        if rule([*vote.weights.values()], len(votes) - k):
            return k
    return len(votes)


def _problems(path: Path, limit: int | None) -> Iterator[tuple[set[str], list[str | None]]]:
    """The right answers and every sample's answer, each spelled as the first that says the same.

    Problems without a stated answer are left out.
    """
    with gzip.open(path, "rt") as lines:
        for k, line in enumerate(lines):
            if limit is not None and k >= limit:
                return
            row = json.loads(line)
            truth = extract_answer(row["answer"])
            if truth is None:
                continue
            spelled: dict[str, str] = {}
            for text in row["generated_answer"]:
                answer = extract_answer(text)
                if answer is not None and answer not in spelled:
                    heads = dict.fromkeys(spelled.values())
                    spelled[answer] = next((x for x in heads if same_answer(x, answer)), answer)
            answers = [extract_answer(text) for text in row["generated_answer"]]
            right = {head for head in spelled.values() if same_answer(head, truth)}
            yield right, [None if x is None else spelled[x] for x in answers]


def _same(a: str, b: str) -> bool:
    return a == b


if __name__ == "__main__":
    sys.exit(main())
