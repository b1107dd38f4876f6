"""A ranker without a network: which words, which form of answer, and which calculations hold."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reason_decode.core.answers import extract_answer
from reason_decode.core.steps import StepSplitter
from reason_decode.core.voting import VoteWeighting
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.checks import check_pairs, to_steps
from reason_decode.scorers.ngram.equations import links

__all__ = ["BUCKETS", "NGramRanker", "features"]

BUCKETS = 1 << 18
_FILE = "ngrams.safetensors"
_WORD = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]+|\d+|[^\sa-zA-Z\d]")
_FRACTION = re.compile(r"-?\\?[dt]?frac\{?-?\d+\}?\{?\d+\}?|-?\d+/\d+")
_CALCULATED = 1.0
_Features = tuple[list[int], list[float]]


class NGramRanker(Scorer):
    """Scores a solution by ``sigmoid(w . x)``, x its words, its answer's form and its equations.

    A linear ranker learns in two minutes on one core what a small encoder takes hours for; it has
    no tokenizer. ``SelfConsistency(scorer=ranker)`` is adaptive self-consistency.

    Args:
        weights: (b,) float32, one a bucket that features are hashed into.
        separator: what ends a step in a solution.

    Raises:
        ValueError: the weights are no vector of numbers, or not finite.

    Example:
        >>> import torch
        >>> from reason_decode.scorers import NGramRanker
        >>> ranker = NGramRanker(torch.zeros(16))  # it has learnt nothing
        >>> ranker.score(["1 + 2 ="], ["The answer is 3."])
        [tensor([0.5000])]
    """

    score_space: ScoreSpace = "probability"
    vote_weighting: VoteWeighting | None = "1+s"

    def __init__(self, weights: Tensor, *, separator: str = "\n") -> None:
        if weights.dim() != 1 or not len(weights) or not torch.isfinite(weights).all():
            raise ValueError(
                f"got weights of shape {tuple(weights.shape)}; need a vector of finite numbers"
            )
        self.weights, self.splitter = weights.float(), StepSplitter(separator)
        self.source: str | None = None

    @classmethod
    def from_pretrained(cls, path: str | Path, *, separator: str = "\n") -> "NGramRanker":
        """Load a ranker from a folder that ``save_pretrained`` wrote.

        Args:
            path: the folder.
            separator: what ends a step.

        Raises:
            OSError: there is no such file.
            ValueError: it is damaged.
        """
        try:
            with safe_open(Path(path) / _FILE, framework="pt") as tensors:
                ranker = cls(tensors.get_tensor("weights"), separator=separator)
        except SafetensorError as error:
            raise ValueError(f"{Path(path) / _FILE} is damaged, or no ranker ({error})") from error
        ranker.source = str(path)
        return ranker

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the weights."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights.contiguous()}, Path(folder) / _FILE)
        self.source = str(folder)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``.

        Raises:
            ValueError: it was neither loaded nor saved.
        """
        if self.source is None:
            raise ValueError("got a ranker that is in no folder yet; save_pretrained it first")
        return {"path": self.source, "separator": self.splitter.separator}

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """One score (1,) a solution, (0,) of one without steps.

        Raises:
            ValueError: unequal numbers, or a blank step in a list.
        """
        check_pairs(prompts, solutions)
        return [
            self._score(prompt, steps)
            for prompt, steps in zip(prompts, to_steps(solutions, self.splitter), strict=True)
        ]

    def _score(self, prompt: str, steps: Sequence[str]) -> Tensor:
        if not steps:
            return torch.zeros(0)
        at, values = features(
            prompt, self.splitter.separator.join(steps), buckets=len(self.weights)
        )
        return (self.weights[at] @ torch.tensor(values)).sigmoid()[None]


def features(prompt: str, solution: str, *, buckets: int = BUCKETS) -> _Features:
    """Buckets and values of a solution's features, of three kinds.

    Which runs of one to three words the solution has, how many words, lines and equal signs; in all
    of length 1. The form of its answer (a whole number and which, a fraction, the pattern of its
    digits, its sign, whether the problem has it), by itself and beside each word of the problem
    and each two; of length 1 as well. And how many of its own equations of each kind hold and how
    many do not (``equations.py``), each with a value of its own.

    Args:
        prompt: the problem.
        solution: its text.
        buckets: features are hashed into so many.
    """
    at: list[int] = []
    values: list[float] = []
    for found in (set(_said(solution)), set(_answered(prompt, extract_answer(solution)))):
        at += sorted(zlib.crc32(x.encode(errors="replace")) % buckets for x in found)
        values += [len(found) ** -0.5] * len(found)
    calculated = sorted(set(_calculated(solution)))
    at += [zlib.crc32(x.encode()) % buckets for x in calculated]
    return at, values + [_CALCULATED] * len(calculated)


def _calculated(solution: str) -> Iterator[str]:
    counts: Counter[str] = Counter()
    last = "none"
    for link in links(solution):
        how = "holds" if link.holds else "nearly" if link.near else "fails"
        last = f"{link.kind} {how}{' rounded' * link.rounded}"
        counts[last] += 1
    for name, count in counts.items():
        for least in (1, 2, 3, 5, 9):
            if count >= least:
                yield f"calculated\x1f{name}\x1f{least}"
    yield f"calculated\x1flast {last}"


def _said(solution: str) -> Iterator[str]:
    words = ["#" if x.isdigit() and len(x) > 2 else x for x in _WORD.findall(solution)]
    for n in (1, 2, 3):
        for k in range(len(words) - n + 1):
            yield "\x1f".join(("said", *words[k : k + n]))
    yield f"words\x1f{int(4 * math.log2(len(words) + 1))}"
    yield f"lines\x1f{min(solution.count(chr(10)), 20)}"
    yield f"equal\x1f{min(words.count('='), 20)}"


def _answered(prompt: str, answer: str | None) -> Iterator[str]:
    words = _WORD.findall(prompt)
    asked = [*words, *(f"{a} {b}" for a, b in zip(words, words[1:], strict=False))]
    for form in _forms(answer):
        yield f"form\x1f{form}"
        for x in asked:
            yield f"to\x1f{x}\x1f{form}"
    yield f"given\x1f{answer in words}"


def _forms(answer: str | None) -> Iterator[str]:
    if answer is None:
        yield "none"
        return
    yield re.sub(r"\d+", lambda found: "D" * min(len(found[0]), 4), answer)[:24]
    whole, broken = re.fullmatch(r"-?\d+", answer), _FRACTION.fullmatch(answer)
    decimal = re.fullmatch(r"-?\d+\.\d+", answer)
    yield "whole" if whole else "fraction" if broken else "decimal" if decimal else "other"
    yield "negative" if answer.startswith("-") else "positive"
    if re.fullmatch(r"[0-9]{1,6}", answer):
        number = int(answer)
        yield f"number {number if number < 30 else 'large'}"
        yield f"odd {number % 2}"
        yield f"five {number % 5 == 0}"
        yield f"size {int(math.log2(number + 1))}"
