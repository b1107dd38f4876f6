"""A linear ranker of a solution's words, its answer's form, and which of its equations hold."""

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
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.core.splitting import Splitting, as_splitter, splitter_for
from reason_decode.core.voting import VoteWeighting
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.ngram.equations import find_equations

__all__ = ["BUCKETS", "NGramRanker", "features"]

BUCKETS = 1 << 18
_FILE = "ngrams.safetensors"
_WORD = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]+|\d+|[^\sa-zA-Z\d]")
_FRACTION = re.compile(r"-?\\?[dt]?frac\{?-?\d+\}?\{?\d+\}?|-?\d+/\d+")
_EQUATION_VALUE = 1.0
_Features = tuple[list[int], list[float]]


class NGramRanker(Scorer):
    """Scores a solution by ``sigmoid(w . x)``, x its words, its answer's form and its equations.

    It is trained in two minutes on one core, a small encoder in hours; it has no tokenizer.
    ``SelfConsistency(scorer=ranker)`` is adaptive self-consistency.

    Args:
        weights: float32 (b,), one weight for each bucket that features are hashed into.
        separator: the text between steps.
        splitter: where a solution's text is split into steps; ``None``: at ``separator``.

    Raises:
        ValueError: the weights are no vector of finite numbers.

    Examples:
        >>> import torch
        >>> from reason_decode.scorers import NGramRanker
        >>> ranker = NGramRanker(torch.zeros(16))  # it has learned nothing
        >>> ranker.score(["1 + 2 ="], ["The answer is 3."])
        [tensor([0.5000])]
    """

    score_space: ScoreSpace = "probability"
    vote_weighting: VoteWeighting | None = "1+s"

    def __init__(
        self, weights: Tensor, *, separator: str = "\n", splitter: Splitting | None = None
    ) -> None:
        if weights.dim() != 1 or not len(weights) or not torch.isfinite(weights).all():
            raise ValueError(
                f"got weights of shape {tuple(weights.shape)}; need a vector of finite numbers"
            )
        self.weights, self.separator = weights.float(), separator
        self._has_own_splitter = splitter is not None
        self.splitter = splitter_for(separator) if splitter is None else as_splitter(splitter)
        self.source: str | None = None

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, separator: str = "\n", splitter: Splitting | None = None
    ) -> "NGramRanker":
        """Load a ranker from a folder that ``save_pretrained`` wrote.

        Args:
            path: the folder.
            separator: the text between steps.
            splitter: where a solution's text is split into steps; ``None``: at ``separator``.

        Raises:
            OSError: there is no such file.
            ValueError: it is damaged.
        """
        try:
            with safe_open(Path(path) / _FILE, framework="pt") as tensors:
                ranker = cls(tensors.get_tensor("weights"), separator=separator, splitter=splitter)
        except SafetensorError as error:
            raise ValueError(f"{Path(path) / _FILE} is damaged, or no ranker ({error})") from error
        ranker.source = str(path)
        return ranker

    @staticmethod
    def is_saved_in(folder: str | Path) -> bool:
        """True if ``save_pretrained`` has written a ranker to this folder."""
        return (Path(folder) / _FILE).is_file()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the weights to a folder, which is made if it is not there."""
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
        own = {"splitter": self.splitter.settings()} if self._has_own_splitter else {}
        return {"path": self.source, "separator": self.separator, **own}

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """One score (1,) a solution, (0,) for one without steps.

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
        text = self.separator.join(steps)
        buckets, values = features(prompt, text, buckets=len(self.weights))
        return (self.weights[buckets] @ torch.tensor(values)).sigmoid()[None]


def features(prompt: str, solution: str, *, buckets: int = BUCKETS) -> _Features:
    """The features of a solution: for each its bucket and its value.

    There are three kinds:

    - the solution's runs of one to three words, and its numbers of words, lines and equal signs;
      together a vector of length 1;
    - the form of its answer (a whole number and which, a fraction, the pattern of its digits, its
      sign, whether the problem contains it), alone and paired with each word and each two adjacent
      words of the problem; also of length 1;
    - the number of its own equations of each kind that hold, and that do not, see ``equations.py``;
      each of value 1.

    Args:
        prompt: the problem.
        solution: the solution's text.
        buckets: number of buckets that features are hashed into.
    """
    at: list[int] = []
    values: list[float] = []
    for found in (set(_word_runs(solution)), set(_answer_forms(prompt, extract_answer(solution)))):
        at += sorted(zlib.crc32(x.encode(errors="replace")) % buckets for x in found)
        values += [len(found) ** -0.5] * len(found)
    equations = sorted(set(_equation_counts(solution)))
    at += [zlib.crc32(x.encode()) % buckets for x in equations]
    return at, values + [_EQUATION_VALUE] * len(equations)


def _equation_counts(solution: str) -> Iterator[str]:
    counts: Counter[str] = Counter()
    last = "none"
    for equation in find_equations(solution):
        outcome = "holds" if equation.holds else "nearly" if equation.near else "fails"
        last = f"{equation.kind} {outcome}{' rounded' * equation.rounded}"
        counts[last] += 1
    for name, count in counts.items():
        for least in (1, 2, 3, 5, 9):
            if count >= least:
                yield f"calculated\x1f{name}\x1f{least}"
    yield f"calculated\x1flast {last}"


def _word_runs(solution: str) -> Iterator[str]:
    words = ["#" if x.isdigit() and len(x) > 2 else x for x in _WORD.findall(solution)]
    for n in (1, 2, 3):
        for k in range(len(words) - n + 1):
            yield "\x1f".join(("said", *words[k : k + n]))
    yield f"words\x1f{int(4 * math.log2(len(words) + 1))}"
    yield f"lines\x1f{min(solution.count(chr(10)), 20)}"
    yield f"equal\x1f{min(words.count('='), 20)}"


def _answer_forms(prompt: str, answer: str | None) -> Iterator[str]:
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
