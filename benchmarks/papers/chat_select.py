"""Every way to choose among the samples of a chat model, on one pool, beside the vote.

    python -m benchmarks.papers.chat_select --pool runs/test.jsonl --states runs/test_states \
        --train-pool runs/train.jsonl --train-states runs/train_states \
        --ranker runs/math_ngrams --output chat_select.json

The pools are those of ``chat_pool``, the states those of ``chat_states``. Heads on the states are
those of ``chat_heads``; their layers and penalties are chosen on the train pool, as are the windows
of confidence measures, by the share of pairs of samples in the right order. ``--ranker`` is a
linear ranker that learned from other samples (``reason-decode train ngram-ranker``). Nothing is
chosen on the test pool, which is scored once.

Accuracies are in percent, with 95 % bootstrap intervals over problems; differences to the vote are
paired. The votes are means over orders of the samples, so that ties count for their shares.
"closed" is the share of the way from one sample to pass@N.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.papers.chat_heads import HEADS, Problem, chosen, pair_accuracy, scored
from reason_decode.core.answers import extract_answer
from reason_decode.core.voting import VoteWeighting, vote_weights
from reason_decode.evaluation.curves import SamplePool, accuracy_curves, answer_ids
from reason_decode.evaluation.metrics import bootstrap, paired_bootstrap
from reason_decode.generation.token_stats import TokenStats
from reason_decode.io.console import table
from reason_decode.io.jsonl import read_jsonl, write_json
from reason_decode.scorers import ConfidenceScorer, NGramRanker

WINDOWS = (32, 64, 128, 256)
PLAIN: tuple[Any, ...] = ("logprob", "perplexity", "entropy", "certainty", "mean")
WINDOWED: tuple[Any, ...] = ("group", "bottom", "tail")
OF_PROBABILITIES: tuple[VoteWeighting, ...] = ("s", "1+s", "1+2s", "borda")

Scores = list[list[float]]
"""A score for each sample of each problem."""
Scored = tuple[tuple[VoteWeighting, ...], Scores]
"""The formulas by which votes are weighted, and the scores."""


def main(argv: Sequence[str] | None = None) -> int:
    """Choose on the train pool, score the test pool, print the table and write the curves."""
    args = _arguments(argv)
    test, states = _read(args.pool, args.states)
    train, train_states = _read(args.train_pool, args.train_states)
    given, choices = confidences(states, train, train_states)
    if args.ranker is not None:
        given["linear ranker"] = OF_PROBABILITIES, ngram_scores(args.ranker, test)
    learned = [Problem.of(row, found) for row, found in zip(train, train_states, strict=True)]
    problems = [Problem.of(row, found) for row, found in zip(test, states, strict=True)]
    for name in HEADS:
        choice = chosen(name, learned, problems[0].last.shape[1])
        choices[name] = choice
        logps = scored(name, learned, problems, choice["layer"], choice["penalty"])
        given[name] = OF_PROBABILITIES, [torch.tensor(row).exp().tolist() for row in logps]
        print(f"{name}: {choice}", file=sys.stderr)
    result = selected(test, given, args.seed)
    for name, (_, scores) in given.items():
        rows = [torch.tensor(row) for row in scores]
        result["pair_accuracy"][name] = round(pair_accuracy(problems, rows), 4)
    sizes = {"problems": len(test), "train_problems": len(train), "n": len(test[0]["samples"])}
    write_json(args.output, {**sizes, "chosen": choices, **result})
    print(
        table([_shown(name, row, result["pair_accuracy"]) for name, row in result["rows"].items()])
    )
    return 0


def _read(pool: str, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Tensor]]]:
    """The rows of a pool whose states were read, and these."""
    rows = [row for _, row in read_jsonl(pool)[0]]
    rows = [row for row in rows if (folder / f"{row['id']}.safetensors").exists()]
    return rows, [load_file(folder / f"{row['id']}.safetensors") for row in rows]


def confidences(
    states: Sequence[Mapping[str, Tensor]],
    train: Sequence[Mapping[str, Any]],
    train_states: Sequence[Mapping[str, Tensor]],
) -> tuple[dict[str, Scored], dict[str, Any]]:
    """Scores by each measure with the formulas for votes, and the windows that were chosen."""
    truth = [
        Problem(torch.tensor([x["correct"] for x in row["samples"]]), x["last"], x["mean"], ())
        for row, x in zip(train, train_states, strict=True)
    ]
    found: dict[str, Scored] = {}
    choices: dict[str, Any] = {}
    for measure in (*PLAIN, *WINDOWED):
        formulas = (ConfidenceScorer(measure).vote_weighting or "s", "borda")
        if measure in WINDOWED:
            tried = {
                window: pair_accuracy(
                    truth, [torch.tensor(x) for x in _confidence(train_states, measure, window)]
                )
                for window in WINDOWS
            }
            window = max(tried, key=lambda x: tried[x])
            choices[measure] = {"window": window, "pair_accuracy": tried[window]}
            found[measure] = formulas, _confidence(states, measure, window)
        else:
            found[measure] = formulas, _confidence(states, measure, 1)
    return found, choices


def _confidence(states: Sequence[Mapping[str, Tensor]], measure: Any, window: int) -> Scores:
    scorer = ConfidenceScorer(measure, window=window)
    return [
        [float(s) for s in scorer.score_generated([[TokenStats(*x)] for x in _statistics(found)])]
        for found in states
    ]


def _statistics(found: Mapping[str, Tensor]) -> list[Tensor]:
    """The statistics of the tokens of each sample, (4, t) each."""
    return [found[f"stats.{k}"] for k in range(len(found["last"]))]


def ngram_scores(folder: str, rows: Sequence[Mapping[str, Any]]) -> Scores:
    """The scores of a linear ranker."""
    ranker = NGramRanker.from_pretrained(folder)
    return [
        [
            float(s)
            for s in ranker.score(
                [row["question"]] * len(row["samples"]), [x["text"] for x in row["samples"]]
            )
        ]
        for row in rows
    ]


def selected(
    rows: Sequence[Mapping[str, Any]], given: Mapping[str, Scored], seed: int
) -> dict[str, Any]:
    """Accuracy of each way to choose, by the number of samples, and its difference to the vote.

    Args:
        rows: the rows of a pool.
        given: name -> formulas for votes, and scores of each sample.
        seed: seed of the orders that votes are averaged over.
    """
    best, weights = list(given), {}
    for name, (formulas, scores) in given.items():
        for weighting in formulas:
            weights[f"{name}, vote {weighting}"] = [vote_weights(s, weighting) for s in scores]
    pools = [
        SamplePool(
            [x["correct"] for x in row["samples"]],
            answer_ids([extract_answer(x["text"]) for x in row["samples"]]),
            {name: scores[k] for name, (_, scores) in given.items()}
            | {name: w[k] for name, w in weights.items()},
        )
        for k, row in enumerate(rows)
    ]
    n = len(rows[0]["samples"])
    curves = accuracy_curves(pools, range(1, n + 1), vote_weights=list(weights), seed=seed)
    kept = {"pass@N": curves["pass@N"], "vote": curves["majority"]}
    kept |= {name: curves[name] for name in best} | {x: curves[f"{x} vote"] for x in weights}
    answered = [[_answered(pool)] * n for pool in pools]
    kept["one sample, of those with an answer"] = answered
    if all("greedy_correct" in row for row in rows):
        kept["greedy"] = [[float(row["greedy_correct"])] * n for row in rows]
    single = bootstrap(curves["pass@N"])[0].mean
    limit = bootstrap(curves["pass@N"])[-1].mean
    result: dict[str, Any] = {"pair_accuracy": {}, "single": single, "rows": {}}
    for name, curve in kept.items():
        values, paired = bootstrap(curve), paired_bootstrap(curve, curves["majority"])
        result["rows"][name] = {
            "accuracy": _percent(values[-1]),
            "beside_vote": _percent(paired[-1]),
            "closed": round((values[-1].mean - single) / (limit - single), 4),
            "curve": [round(100 * x.mean, 2) for x in values],
        }
    return result


def _answered(pool: SamplePool) -> float:
    """The share of right samples among those with an answer."""
    known = [r for r, a in zip(pool.correct, pool.answers, strict=True) if a is not None]
    return sum(known) / len(known) if known else 0.0


def _percent(estimate: Any) -> list[float]:
    return [round(100 * x, 2) for x in estimate]


def _shown(name: str, row: Mapping[str, Any], ordered: Mapping[str, float]) -> dict[str, str]:
    mean, low, high = row["accuracy"]
    more, least, most = row["beside_vote"]
    return {
        "choice": name,
        "right": f"{mean:.1f} %",
        "interval": f"{low:.1f}-{high:.1f}",
        "beside the vote": f"{more:+.1f} ({least:+.1f} to {most:+.1f})",
        "closed": f"{100 * row['closed']:.0f} %",
        "pairs in order": f"{100 * ordered[name]:.1f} %" if name in ordered else "-",
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", required=True, help="pool that is reported")
    parser.add_argument("--states", type=Path, required=True, help="folder of its states")
    parser.add_argument("--train-pool", required=True, help="pool that is learned from")
    parser.add_argument("--train-states", type=Path, required=True, help="folder of its states")
    parser.add_argument("--ranker", help="folder of a linear ranker")
    parser.add_argument("--output", required=True, help="file of the results, JSON")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
