"""Several scorers as one: their mean, their minimum, or a lower confidence bound."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from reason_decode.scorers.base import Candidates, Scorer, Session, check_scorer_argument
from reason_decode.scorers.saved import load_saved_scorer, scorer_settings

__all__ = ["Combine", "EnsembleScorer"]

Combine = Literal["mean", "min", "lower-bound"]
"""Ways to make one score of those of several scorers; ``EnsembleScorer`` defines each."""


class EnsembleScorer(Scorer):
    r"""Scores each step, or each solution, by several scorers that are combined.

    ``"mean"``: ``mean_k s_k``. ``"min"``: ``min_k s_k``. ``"lower-bound"``: ``mean_k s_k - width *
    std_k s_k``, with the standard deviation over the scorers (of n, not n - 1); a probability is at
    least 0. What one scorer likes by mistake the others seldom do, and the minimum and the lower
    bound hold what they disagree about against a solution.

    Args:
        scorers: at least two, of one score space, all of steps or all of whole solutions. The first
            one's splitter splits texts into steps for all.
        combine: see above.
        width: of the lower bound, in standard deviations.

    Raises:
        ValueError: there are fewer, they do not go together, or an option is not allowed.

    Source: minimum and lower bound against overoptimization: Coste et al. 2024, 2310.02743,
    section 3.2 (worst-case and uncertainty-weighted optimization, there with the variance).

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.scorers import EnsembleScorer
        >>> t = tiny.load()
        >>> both = EnsembleScorer([t.prm, t.verifier], combine="min")
        >>> (scores,) = both.score(["Make 36 from 4 5 6 10.\n"], ["5 * 6 = 31 (left: 4 10 31)"])
        >>> float(scores) < 0.5
        True
    """

    def __init__(
        self, scorers: Sequence[Scorer], *, combine: Combine = "mean", width: float = 1.0
    ) -> None:
        self.scorers = list(scorers)
        if len(self.scorers) < 2:
            raise ValueError(f"got {len(self.scorers)} scorers; pass at least two")
        for k, scorer in enumerate(self.scorers):
            check_scorer_argument(f"scorers[{k}]", scorer)
        if combine not in get_args(Combine):
            raise ValueError(f"got combine={combine!r}; allowed are {', '.join(get_args(Combine))}")
        if not 0 <= width < float("inf"):
            raise ValueError(f"got width={width!r}; need a number of standard deviations")
        self.combine, self.width = combine, width
        first = self.scorers[0]
        self.score_space: Any = self._same("score_space", lambda x: x.score_space)
        self.per_step = self._same("scores of steps", lambda x: x.per_step)
        # What one scorer needs at the end of a prompt does no harm to those that need nothing.
        self.prompt_suffix = max((x.prompt_suffix for x in self.scorers), key=len)
        self.splitter, self.vote_weighting = first.splitter, first.vote_weighting

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Combined scores of each solution; see ``Scorer.score``."""
        if self.per_step:
            solutions = [self.splitter.split(x) if isinstance(x, str) else x for x in solutions]
        each = [scorer.score(prompts, solutions) for scorer in self.scorers]
        return [self.combined(group) for group in zip(*each, strict=True)]

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session in which each scorer reads each step once."""
        return _EnsembleSession(self, prompts)

    def combined(self, scores: Sequence[Tensor]) -> Tensor:
        """One score of each step, (s,), from those of the scorers, (s,) each."""
        stacked = torch.stack([x.float() for x in scores])
        if self.combine == "min":
            return stacked.min(dim=0).values
        mean = stacked.mean(dim=0)
        if self.combine == "mean":
            return mean
        # Not torch.std, which warns of a solution without steps.
        bound = mean - self.width * (stacked - mean).square().mean(dim=0).sqrt()
        return bound.clamp(min=0) if self.score_space == "probability" else bound

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps that fit into the context of every scorer."""
        return min(scorer.max_steps(prompt, steps) for scorer in self.scorers)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        scorers = [scorer_settings(scorer) for scorer in self.scorers]
        return {"scorers": scorers, "combine": self.combine, "width": self.width}

    @classmethod
    def from_pretrained(cls, scorers: Sequence[dict[str, Any]], **options: Any) -> "EnsembleScorer":
        """The ensemble of scorers that are loaded from their settings.

        Args:
            scorers: class and settings of each, as ``settings`` returns them.
            options: ``combine`` and ``width``.
        """
        return cls([load_saved_scorer(json.dumps(x)) for x in scorers], **options)

    def _same(self, name: str, value: Callable[[Scorer], Any]) -> Any:
        """The value that all scorers have."""
        values = [value(scorer) for scorer in self.scorers]
        if any(x != values[0] for x in values):
            kinds = [type(scorer).__name__ for scorer in self.scorers]
            got = ", ".join(f"{kind}: {x!r}" for kind, x in zip(kinds, values, strict=True))
            raise ValueError(f"got scorers with different {name} ({got}); pass scorers of one kind")
        return values[0]


class _EnsembleSession(Session):
    def __init__(self, scorer: EnsembleScorer, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.scorer = scorer
        self.sessions = [member.start_session(prompts) for member in scorer.scorers]

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        if self.scorer.per_step:
            split = self.scorer.splitter.split
            candidates = [[split(x) if isinstance(x, str) else x for x in y] for y in candidates]
        each = [session.score(candidates, keep_cache) for session in self.sessions]
        self.tokens_read = sum(session.tokens_read for session in self.sessions)
        return [
            [self.scorer.combined(group) for group in zip(*row, strict=True)]
            for row in zip(*each, strict=True)
        ]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        self.prompts = [self.prompts[row] for row, _ in choice]
        for session in self.sessions:
            session.select(choice)
