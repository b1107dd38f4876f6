"""The session built from ``score`` alone, for scorers that have no session of their own."""

from collections.abc import Sequence

from torch import Tensor

from reason_decode.core.solutions import to_steps
from reason_decode.scorers.base import (
    Candidates,
    Scorer,
    Session,
    candidate_names,
    check_finite,
)

__all__ = ["RescoringSession"]


class RescoringSession(Session):
    """A session built from ``score`` alone: each round scores the whole trajectories.

    Args:
        scorer: scores the trajectories.
        prompts: the prompt that each trajectory begins with.
    """

    def __init__(self, scorer: Scorer, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.scorer = scorer
        self.trajectories: list[list[str]] = [[] for _ in self.prompts]
        self._candidates: list[list[list[str]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, a score that is not finite, or a number of scores that is
                neither 1 nor that of the steps.
        """
        new = [to_steps(group, self.scorer.splitter) for group in candidates]
        whole = [
            [[*before, *steps] for steps in group]
            for before, group in zip(self.trajectories, new, strict=True)
        ]
        prompts = [prompt for prompt, group in zip(self.prompts, whole, strict=True) for _ in group]
        # A text that continues nothing is passed on as it is, white space included.
        solutions = [
            one if isinstance(one, str) and not before else steps
            for before, given, group in zip(self.trajectories, candidates, whole, strict=True)
            for one, steps in zip(given, group, strict=True)
        ]
        flat = self._score_whole(prompts, solutions)
        check_finite(flat, candidate_names(whole))
        rest = iter(flat)
        scores = [
            [self._new_scores(next(rest), len(before), len(steps)) for steps in group]
            for before, group in zip(self.trajectories, whole, strict=True)
        ]
        self._candidates = whole if keep_cache else []
        return scores

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self.trajectories = [self._candidates[i][j] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []

    def _score_whole(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        return self.scorer.score(prompts, solutions)

    def _new_scores(self, scores: Tensor, before: int, steps: int) -> Tensor:
        """The scores of the steps from ``before`` on; one score of the whole stays as it is."""
        if len(scores) == steps:
            return scores[before:]
        if len(scores) != 1:
            raise ValueError(
                f"got {len(scores)} scores for {steps} steps from {type(self.scorer).__name__}; "
                "score() must return one score for each step, or one for the whole solution"
            )
        return scores
