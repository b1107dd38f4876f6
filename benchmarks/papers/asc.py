r"""Adaptive self-consistency on other models' samples: votes weighted by a ranker.

    python -m benchmarks.papers.asc --samples gpt35.jsonl.gz gpt4.jsonl.gz --model ngrams \
        --output runs/asc

Cross-validated: problems are dealt into folds by their text, with one split for all files, and each
fold is scored by a ranker that was trained, on all files, without it. ``--measure 2`` does that for
the first two folds only. The table has the majority vote, the three published weightings, the
sample with the highest score, and the best that any choice can reach.

Votes are counted by ``voting.weighted_vote``, answers are compared by ``same_answer``. Only
problems with right and wrong samples are voted on; the outcome of the others is known. If answers
tie for the first place, each counts for its share; samples without an answer do not vote. Intervals
are 95 %, by a bootstrap over problems.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from reason_decode import RankingModel
from reason_decode.core.answers import extract_answer, same_answers
from reason_decode.core.hashing import stable_hash
from reason_decode.core.voting import VoteWeighting, vote_weights, weighted_vote
from reason_decode.io.console import table
from reason_decode.scorers import NGramRanker
from reason_decode.training import (
    LabelledSolution,
    RankerConfig,
    RankingLoss,
    TrainingConfig,
    read_labelled,
    train_ngram_ranker,
    train_ranker,
)

WEIGHTINGS: tuple[VoteWeighting, ...] = ("s", "1+s", "1+2s")


class GradedProblem(NamedTuple):
    """The samples of a problem, the answer of each, and whether it is right."""

    samples: list[LabelledSolution]
    answers: list[str | None]
    right: list[bool]

    @property
    def mixed(self) -> bool:
        """True if there are right answers and wrong ones."""
        given = [r for a, r in zip(self.answers, self.right, strict=True) if a is not None]
        return any(given) and not all(given)

    def side(self, right: bool) -> list[LabelledSolution]:
        """The right or the wrong samples, each text once."""
        rows = zip(self.samples, self.answers, self.right, strict=True)
        return list({x.steps: x for x, a, r in rows if a is not None and r == right}.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Grade the samples, train a ranker for each fold, score, vote, print the tables."""
    args = _arguments(argv)
    files = {path.name: graded(_problems(path, args.limit)) for path in args.samples}
    folds = range(args.folds)[: args.measure]
    scores: dict[str, list[tuple[GradedProblem, list[float]]]] = {name: [] for name in files}
    for fold in folds:
        kept: list[GradedProblem] = []
        for name, problems in files.items():
            for problem in problems:
                if fold_of(problem.samples[0].prompt, args.folds) != fold:
                    kept.append(problem)
                else:
                    scores[name].append((problem, []))
        ranker = _ranker(args, kept, args.output / f"fold-{fold}")
        for found in scores.values():
            for problem, score in found:
                if problem.mixed and not score:
                    score += _scores(ranker, problem)
    for name, found in scores.items():
        print(f"\n{name}: {len(found)} problems of {len(folds)} of {args.folds} folds")
        print(table(_rows(found, comparisons(problem for problem, _ in found), args.bootstrap)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="samples with their problems' answers, .jsonl or .jsonl.gz",
    )
    parser.add_argument(
        "--model",
        required=True,
        help="the checkpoint that rankers start from, or ngrams for linear rankers",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the rankers")
    parser.add_argument("--folds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--measure", type=int, help="number of folds to measure (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many problems of each file")
    parser.add_argument(
        "--loss",
        choices=get_args(RankingLoss),
        default="cubic",
        help="the ranker's loss (default: cubic)",
    )
    parser.add_argument(
        "--window",
        type=int,
        default=RankerConfig().window,
        help="see RankerConfig (default: %(default)s)",
    )
    parser.add_argument(
        "--bootstrap", type=int, default=2000, help="resamples of an interval (default: 2000)"
    )
    for field in fields(TrainingConfig):
        value = getattr(RankerConfig(), field.name)
        if not isinstance(value, bool):
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=float if value is None else type(value),  # epochs and learning rate
                default=value,
            )
    return parser.parse_args(argv)


def fold_of(prompt: str, folds: int) -> int:
    """The fold of a problem, the same for all models and with or without ``Problem:``."""
    text = prompt.removeprefix("Problem:").strip()
    return stable_hash(text) % folds


def _problems(path: Path, limit: int | None) -> list[list[LabelledSolution]]:
    """The samples of each row that states an answer."""
    rows: dict[str, list[LabelledSolution]] = {}
    for sample in read_labelled(path):
        if limit is not None and len(rows) == limit and sample.source not in rows:
            break
        rows.setdefault(sample.source, []).append(sample)
    return [samples for samples in rows.values() if samples[0].answer is not None]


def graded(problems: Sequence[Sequence[LabelledSolution]]) -> list[GradedProblem]:
    """The samples of each problem with their answers, and whether each is the reference answer."""
    answers = [[extract_answer("\n".join(x.steps)) for x in samples] for samples in problems]
    pairs = [
        (answer, samples[0].answer or "")
        for samples, given in zip(problems, answers, strict=True)
        for answer in given
        if answer is not None
    ]
    same = iter(same_answers(pairs))
    right = [[answer is not None and next(same) for answer in given] for given in answers]
    return [
        GradedProblem(list(samples), given, verdicts)
        for samples, given, verdicts in zip(problems, answers, right, strict=True)
    ]


def comparisons(problems: Iterable[GradedProblem]) -> Callable[[str, str], bool]:
    """``same_answer`` of the answers to a problem, compared beforehand on all processes.

    Args:
        problems: the problems that are voted on.
    """
    pairs = {
        pair
        for problem in problems
        if problem.mixed
        for pair in combinations(sorted({x for x in problem.answers if x is not None}), 2)
    }
    ordered = sorted(pairs)
    known = dict(zip(ordered, same_answers(ordered), strict=True))

    def same(a: str, b: str) -> bool:
        return a == b or known[min(a, b), max(a, b)]

    return same


def _ranker(args: argparse.Namespace, problems: Iterable[GradedProblem], out: Path) -> Any:
    """The ranker in a folder, trained if it is not there."""
    if args.model == "ngrams":
        if not (out / "ngrams.safetensors").exists():
            mixed = [x for x in problems if x.mixed]
            right, wrong = ([x for p in mixed for x in p.side(side)] for side in (True, False))
            print(train_ngram_ranker(right, wrong, out))
        return NGramRanker.from_pretrained(out)
    if not (out / "model.safetensors").exists():
        names = [x.name for x in fields(TrainingConfig) if hasattr(args, x.name)]
        mixed = [x for x in problems if x.mixed or args.loss == "pointwise"]
        right, wrong = ([x for p in mixed for x in p.side(side)] for side in (True, False))
        result = train_ranker(
            args.model,
            AutoTokenizer.from_pretrained(args.model),
            right,
            wrong,
            out,
            RankerConfig(
                loss=args.loss,
                window=args.window,
                **{name: getattr(args, name) for name in names},
            ),
        )
        print(result)
    return RankingModel.from_pretrained(out)


def _scores(ranker: Any, problem: GradedProblem) -> list[float]:
    texts = [list(x.steps) for x in problem.samples]
    return [float(x) for x in ranker.score([x.prompt for x in problem.samples], texts)]


def _credit(
    problem: GradedProblem, weights: Sequence[float], same: Callable[[str, str], bool]
) -> float:
    """The share of right answers among the answers with the greatest weight."""
    truth = dict(zip(problem.answers, problem.right, strict=True))
    sums = weighted_vote(problem.answers, weights, same).weights
    first = [answer for answer, x in sums.items() if x >= max(sums.values()) - 1e-9]
    return sum(truth[answer] for answer in first) / len(first)


def _rows(
    found: Sequence[tuple[GradedProblem, list[float]]],
    same: Callable[[str, str], bool],
    resamples: int,
) -> list[dict[str, Any]]:
    """Rows of the table, one a method: its accuracy and its difference to the majority vote."""
    methods: dict[str, list[float]] = {"majority": [], **{x: [] for x in WEIGHTINGS}}
    methods |= {"best of all": [], "one sample": [], "oracle": []}
    pairs: list[float] = []
    for problem, scores in tqdm(found, desc="voting", disable=None):
        certain = float(any(problem.right))
        for name, credits in methods.items():
            if name == "one sample":
                credits.append(sum(problem.right) / len(problem.right))
            elif not problem.mixed or name == "oracle":
                credits.append(certain)
            elif name == "best of all":
                samples = zip(scores, problem.answers, problem.right, strict=True)
                voters = [(s, r) for s, a, r in samples if a is not None]
                best = [r for s, r in voters if s == max(voters)[0]]
                credits.append(sum(best) / len(best))
            else:
                weighting: Any = name
                weights = (
                    [1.0] * len(scores) if name == "majority" else vote_weights(scores, weighting)
                )
                credits.append(_credit(problem, weights, same))
        if problem.mixed:
            pairs.append(_ordered(problem, scores))
    base = torch.tensor(methods["majority"])
    rows = [_row(name, torch.tensor(x), base, resamples) for name, x in methods.items()]
    mean, low, high = _interval(torch.tensor(pairs), resamples)
    blank = dict.fromkeys(rows[0], "")
    last = {"method": "pairs in order", "right": f"{mean:.2f} %", "from": f"{low:.2f}"}
    return [*rows, {**blank, **last, "to": f"{high:.2f}"}]


def _row(name: str, credits: Any, base: Any, resamples: int) -> dict[str, Any]:
    mean, low, high = _interval(credits, resamples)
    more, least, most = _interval(credits - base, resamples)
    return {
        "method": name,
        "right": f"{mean:.2f} %",
        "from": f"{low:.2f}",
        "to": f"{high:.2f}",
        "beside majority": f"{more:+.2f}",
        "at least": f"{least:+.2f}",
        "at most": f"{most:+.2f}",
    }


def _interval(values: Any, resamples: int) -> list[float]:
    """The mean and the bounds of its 95 % interval, in percent."""
    if not len(values):
        return [float("nan")] * 3
    generator = torch.Generator().manual_seed(0)
    draws = [
        values[torch.randint(len(values), (len(values),), generator=generator)].mean()
        for _ in range(resamples)
    ]
    low, high = torch.stack(draws).quantile(torch.tensor([0.025, 0.975])).tolist()
    return [100 * x for x in (float(values.mean()), low, high)]


def _ordered(problem: GradedProblem, scores: Sequence[float]) -> float:
    """The share of a problem's pairs in which the right sample scores higher."""
    rows = list(zip(scores, problem.answers, problem.right, strict=True))
    pairs = [
        (s > t) + (s == t) / 2
        for s, a, r in rows
        for t, b, w in rows
        if r and not w and a is not None and b is not None
    ]
    return sum(pairs) / len(pairs)


if __name__ == "__main__":
    sys.exit(main())
