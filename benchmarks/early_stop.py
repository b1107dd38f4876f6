"""What stopping a vote early saves, replayed on solutions that were sampled before.

    python benchmarks/early_stop.py --samples ../shared/data/math_samples/gpt35.jsonl.gz

Each problem's samples are asked one after the other in their order. Each row is one rule: how many
samples it asked for, how often the winner is right, both beside the vote of all. Checked first: a
rule that waits until the vote is decided must elect whom all would have elected.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from reason_decode.answers import extract_answer, same_answer
from reason_decode.cli.text import table
from reason_decode.voting import Stop, Votes, majority, should_stop

RULES: dict[str, Stop | None] = {
    "all": None,
    "decided": "decided",
    **{f"lead {p}": p for p in (0.99, 0.95, 0.9, 0.8)},
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
        votes = [majority(answers[:k]) for k in range(1, len(answers) + 1)]
        winners: dict[str, str | None] = {}
        for name, rule in RULES.items():
            voters = _voters(votes, rule)
            winner = winners[name] = votes[voters - 1].answer
            asked[name] += voters
            right[name] += winner is not None and same_answer(winner, truth)
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


def _voters(votes: Sequence[Votes], rule: Stop | None) -> int:
    """How many samples the rule asks for, given the votes after each of them."""
    for k, vote in enumerate(votes[:-1], 1):
        if should_stop([*vote.weights.values()], len(votes) - k, rule):
            return k
    return len(votes)


def _problems(path: Path, limit: int | None) -> Iterator[tuple[str, list[str | None]]]:
    """The right answer and every sample's answer; problems without a stated answer are left out."""
    with gzip.open(path, "rt") as lines:
        for k, line in enumerate(lines):
            if limit is not None and k >= limit:
                return
            row = json.loads(line)
            truth = extract_answer(row["answer"])
            if truth is not None:
                yield truth, [extract_answer(text) for text in row["generated_answer"]]


if __name__ == "__main__":
    sys.exit(main())
