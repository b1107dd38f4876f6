"""Sessions and stateless scoring by a causal model that reads each token once."""

from collections.abc import Sequence

from torch import Tensor

from reason_decode.scorers.base import Candidates, Session
from reason_decode.scorers.causal_reader import CausalReader
from reason_decode.scorers.checks import (
    check_finite,
    check_pairs,
    check_text,
    to_steps,
)
from reason_decode.scorers.prefix_cache import PrefixReader, PrefixState

__all__ = ["MAX_SOLUTIONS", "CachedSession", "score_solutions"]

MAX_SOLUTIONS = 512
"""Stateless scoring takes this many solutions at a time, which bounds the memory of prompts."""


class CachedSession(Session):
    """A session of a causal model; see ``Session``.

    Args:
        reader: the model with its layout.
        prompts: the prompt that each trajectory begins with.

    Raises:
        ValueError: a prompt without tokens, or a model whose cache cannot be branched.
    """

    def __init__(self, reader: CausalReader, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.reader, self._prefix_reader = reader, PrefixReader(reader)
        for k, prompt in enumerate(prompts):
            check_text(prompt, f"prompt {k}")
        self.steps: list[tuple[str, ...]] = [()] * len(self.prompts)
        self.states = self._prefix_reader.read_prompts(self.prompts)
        self.tokens_read = self._prefix_reader.tokens_read
        self._candidates: list[list[tuple[tuple[str, ...], PrefixState]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        new = [to_steps(group, self.reader.splitter) for group in candidates]
        owners = [i for i, group in enumerate(new) for _ in group]
        steps = [(*self.steps[i], *x) for i, group in enumerate(new) for x in group]
        before = [self.states[i] for i in owners]
        encoded = [
            self.reader.encode(self.prompts[i], x) if len(x) > len(self.steps[i]) else state.encoded
            for i, x, state in zip(owners, steps, before, strict=True)
        ]
        states = self._prefix_reader.read(before, encoded, keep_cache)
        self.tokens_read = self._prefix_reader.tokens_read
        # A score of the whole solution is a new one each time.
        scores = [
            state.scores[len(old.scores) if self.reader.per_step else 0 :]
            for old, state in zip(before, states, strict=True)
        ]
        check_finite(
            scores,
            [f"candidate {j} of trajectory {i}" for i, x in enumerate(new) for j in range(len(x))],
        )
        found, rest = iter(scores), iter(zip(steps, states, strict=True))
        self._candidates = [[next(rest) for _ in group] for group in new] if keep_cache else []
        return [[next(found) for _ in group] for group in new]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        chosen = [self._candidates[i][j] for i, j in choice]
        self.steps = [steps for steps, _ in chosen]
        self.states = [state for _, state in chosen]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []


def score_solutions(
    reader: CausalReader, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
) -> list[Tensor]:
    """Scores of whole solutions; a prompt is read once for several solutions in a row.

    Args:
        reader: the model with its layout.
        prompts: the prompt of each solution.
        solutions: texts, split by the reader's splitter, or lists of steps.

    Raises:
        ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
    """
    check_pairs(prompts, solutions)
    steps = to_steps(solutions, reader.splitter)
    prefix_reader = PrefixReader(reader)
    scores: list[Tensor] = []
    for start in range(0, len(steps), MAX_SOLUTIONS):
        window = slice(start, start + MAX_SOLUTIONS)
        distinct = list(dict.fromkeys(prompts[window]))
        states = dict(zip(distinct, prefix_reader.read_prompts(distinct), strict=True))
        before = [states[prompt] for prompt in prompts[window]]
        encoded = [
            reader.encode(prompt, x) if x else states[prompt].encoded
            for prompt, x in zip(prompts[window], steps[window], strict=True)
        ]
        scores += [x.scores for x in prefix_reader.read(before, encoded, keep_cache=False)]
    check_finite(scores, [f"solution {k}" for k in range(len(scores))])
    return scores
