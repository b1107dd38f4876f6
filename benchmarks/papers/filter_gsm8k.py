"""Precision and recall of the loss-delta filter on rationales that people wrote.

    python -m benchmarks.papers.filter_gsm8k train --input ../shared/data/gsm8k --model runs/gsm8k
    python -m benchmarks.papers.filter_gsm8k test --input ../shared/data/gsm8k --model runs/gsm8k

``train`` trains a small language model on train.jsonl only, and helps it to copy: its tokenizer
ignores case, and its attention starts by passing on the words that it sees. First it learns single
steps, each after a pseudo-rationale between tags: a question made of words of that step. Then it
learns the steps of whole problems, most of them after such a rationale. Questions and rationales
are not learnt. In each draw most of a problem's rare words are replaced by others, everywhere in
the problem alike, so that a step has to be read off its rationale and cannot be known by heart.

``test`` reads test_socratic.jsonl: each step has its own sub-question before it, and in a second
copy of the problem a sub-question of another problem. A threshold is calibrated on half of the
problems, for a precision of 95 % with a confidence of 99 %, and measured on the other half: for the
sum of the deltas and for their mean, with and without discount.
"""

import argparse
import random
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.papers.gsm8k_loss_model import train
from benchmarks.papers.gsm8k_problems import (
    WordProblem,
    foreign_questions,
    read_problems,
    to_document,
)
from reason_decode.io.console import table
from reason_decode.mining import ScoredRationale, calibrate_threshold, score_rationales

_PRECISION, _CONFIDENCE = 0.95, 0.99


def main(argv: Sequence[str] | None = None) -> int:
    """Train the model, or test the filter with it."""
    args = _arguments(argv)
    if args.action == "train":
        problems = read_problems(args.input / "train.jsonl")[: args.limit]
        train(problems, args.model, (args.layers, args.width), args.short, args.epochs)
        return 0
    problems = read_problems(args.input / "test_socratic.jsonl")[: args.limit]
    print(table(test(problems, args.model, args.seed)))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "action", choices=("train", "test"), help="train the model, or test with it"
    )
    parser.add_argument("--input", type=Path, required=True, help="the folder of GSM8K")
    parser.add_argument(
        "--model", type=Path, required=True, help="folder that train writes and test reads"
    )
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument(
        "--epochs", type=float, default=5.0, help="train: epochs of whole problems (default: 5)"
    )
    parser.add_argument(
        "--short", type=int, default=6_400, help="train: single steps (default: 6,400)"
    )
    parser.add_argument("--layers", type=int, default=2, help="train: (default: 2)")
    parser.add_argument("--width", type=int, default=192, help="train: hidden size (default: 192)")
    parser.add_argument(
        "--seed", type=int, default=0, help="test: of halves and foreign questions (default: 0)"
    )
    return parser.parse_args(argv)


def test(problems: Sequence[WordProblem], folder: Path, seed: int) -> list[dict[str, str]]:
    """Rows of the table: precision and recall on held-out problems.

    Args:
        problems: problems with sub-questions.
        folder: the model's folder.
        seed: seed of the halves and of the foreign questions.
    """
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = [x for x in problems if len(x.sub_questions) == len(x.steps) - 1]
    rng = random.Random(seed)
    own = [to_document(k, x, x.sub_questions) for k, x in enumerate(whole)]
    foreign = [to_document(k, x, foreign_questions(whole, k, rng)) for k, x in enumerate(whole)]
    calibration = {str(k) for k in range(len(whole)) if rng.random() < 0.5}
    steps = sum(len(x.sub_questions) for x in whole)
    print(f"{len(whole)} problems, {steps} steps, each scored twice\n")
    rows = []
    for discount in (0.9, 1.0):
        scored = [
            (x, right)
            for documents, right in ((own, True), (foreign, False))
            for x in score_rationales(
                tqdm(documents, unit="problem"), model, tokenizer, discount=discount, batch_size=16
            )
            if x.delta is not None
        ]
        for name, value_of in _SUMMARIES.items():
            values = [
                LabelledValue(x.document.id in calibration, value_of(x), right)
                for x, right in scored
            ]
            row = {"discount": str(discount), "by": name}
            try:
                rows.append({**row, **_measure(values)})
            except ValueError as error:
                print(f"{row}: {error}")
                rows.append({**row, **_own_above_foreign(values), **dict.fromkeys(_COLUMNS, "-")})
    return rows


class LabelledValue(NamedTuple):
    """A rationale's delta: whether it calibrates, the value, and whether the question is right."""

    calibrates: bool
    value: float
    right: bool


_SUMMARIES: dict[str, Callable[[ScoredRationale], float]] = {
    "sum": lambda x: x.delta or 0.0,
    "mean": lambda x: x.mean_delta or 0.0,
}
_COLUMNS = ("threshold", "precision", "recall", "kept")


def _measure(values: Sequence[LabelledValue]) -> dict[str, str]:
    """The threshold calibrated on one half, and its precision and recall on the other.

    Raises:
        ValueError: no threshold reaches the precision.
    """
    chosen = [x for x in values if x.calibrates]
    rest = [x for x in values if not x.calibrates]
    found = calibrate_threshold(
        [x.value for x in chosen],
        [x.right for x in chosen],
        precision=_PRECISION,
        confidence=_CONFIDENCE,
    )
    kept = [x.right for x in rest if x.value >= found.threshold]
    right = sum(x.right for x in rest)
    cells = (
        f"{found.threshold:.3f}",
        f"{100 * sum(kept) / max(1, len(kept)):.1f} %",
        f"{100 * sum(kept) / max(1, right):.1f} %",
        str(len(kept)),
    )
    return {**_own_above_foreign(values), **dict(zip(_COLUMNS, cells, strict=True))}


def _own_above_foreign(values: Sequence[LabelledValue]) -> dict[str, str]:
    """The share of pairs in the second half in which the own question has the higher value.

    Equal values count half, so that 50 % is chance.
    """
    rest = [x for x in values if not x.calibrates]
    foreign = sorted(x.value for x in rest if not x.right)
    own = [x.value for x in rest if x.right]
    above = sum(bisect_left(foreign, x) + bisect_right(foreign, x) for x in own) / 2
    return {"own above foreign": f"{100 * above / max(1, len(own) * len(foreign)):.1f} %"}


if __name__ == "__main__":
    sys.exit(main())
