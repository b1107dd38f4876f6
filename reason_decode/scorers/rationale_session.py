"""A session that writes a rationale before each step, and scores the step given it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from reason_decode.core.solutions import check_text, to_steps
from reason_decode.scorers.base import Candidates, Session, check_finite
from reason_decode.scorers.causal import PrefixReader, PrefixState

if TYPE_CHECKING:
    from reason_decode.scorers.rationale import RationaleScorer

__all__ = ["RationaleSession"]


class _Trajectory(NamedTuple):
    """A trajectory as both models have read it.

    Attributes:
        prompt: the prompt.
        steps: the steps so far.
        scored: the state of the model that scores; once there is a rationale, it has read it.
        written: the state of the model that writes, as of the last rationale.
        rationale: the rationale of the next step; ``None`` until it is written.
    """

    prompt: str
    steps: tuple[str, ...]
    scored: PrefixState
    written: PrefixState
    rationale: str | None = None


class RationaleSession(Session):
    """Trajectories with a rationale each; see ``Session``.

    In each round one rationale is written for each trajectory, which all candidates share. A
    candidate of several steps gets a further rationale before each later step.

    Args:
        scorer: the scorer.
        prompts: the prompt that each trajectory begins with.

    Attributes:
        tokens_written: tokens of the rationales so far; ``tokens_read`` includes them.
    """

    def __init__(self, scorer: "RationaleScorer", prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        for k, prompt in enumerate(prompts):
            check_text(prompt, f"prompt {k}")
        self.scorer, self.tokens_written = scorer, 0
        self._scorer_reader = PrefixReader(scorer)
        self._writer_reader = PrefixReader(scorer.writer)
        scored = self._scorer_reader.read_prompts(self.prompts)
        written = self._writer_reader.read_prompts(self.prompts)
        self._trajectories = [
            _Trajectory(prompt, (), read, asked)
            for prompt, read, asked in zip(self.prompts, scored, written, strict=True)
        ]
        self._candidates: list[list[_Trajectory]] = []
        self._count_tokens()

    def before_round(self) -> list[str | None]:
        """The rationale of the next step of each trajectory; each is written once."""
        self._trajectories = self._with_rationales(self._trajectories)
        self._count_tokens()
        return [trajectory.rationale for trajectory in self._trajectories]

    def context_to_append(self) -> list[str | None]:
        """The rationales between their tags; ``None`` for empty ones."""
        tags = self.scorer.writer.tags
        return [tags.around(text) if text else None for text in self.before_round()]

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        groups = [to_steps(group, self.scorer.splitter) for group in candidates]
        places = [(i, j) for i, group in enumerate(groups) for j in range(len(group))]
        self.before_round()
        trajectories = {(i, j): self._trajectories[i] for i, j in places}
        scores: dict[tuple[int, int], list[Tensor]] = {place: [] for place in places}
        for depth in range(max((len(groups[i][j]) for i, j in places), default=0)):
            active = [(i, j) for i, j in places if len(groups[i][j]) > depth]
            if depth:  # The rationale of the first step is shared, and written already.
                renewed = self._with_rationales([trajectories[place] for place in active])
                trajectories |= zip(active, renewed, strict=True)
            steps = [groups[i][j][depth] for i, j in active]
            last = all(len(groups[i][j]) == depth + 1 for i, j in active)
            before = [trajectories[place] for place in active]
            found = self._score_steps(before, steps, keep_cache or not last)
            for place, (score, trajectory) in zip(active, found, strict=True):
                scores[place].append(score)
                trajectories[place] = trajectory
        self._count_tokens()
        flat = {place: torch.cat(x) if x else torch.zeros(0) for place, x in scores.items()}
        check_finite(list(flat.values()), [f"candidate {j} of trajectory {i}" for i, j in flat])
        self._candidates = [
            [trajectories[i, j] for j in range(len(group))] for i, group in enumerate(groups)
        ]
        return [[flat[i, j] for j in range(len(group))] for i, group in enumerate(groups)]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self._trajectories = [self._candidates[i][j] for i, j in choice]
        self.prompts = [trajectory.prompt for trajectory in self._trajectories]
        self._candidates = []

    def _count_tokens(self) -> None:
        read = self._scorer_reader.tokens_read + self._writer_reader.tokens_read
        self.tokens_read = read + self.tokens_written

    def _with_rationales(self, trajectories: Sequence[_Trajectory]) -> list[_Trajectory]:
        """The same trajectories with rationales, the missing ones written and read."""
        missing = [x for x in trajectories if x.rationale is None]
        if not missing:
            return list(trajectories)
        writer = self.scorer.writer
        # The writer reads the steps since its last rationale only now.
        written = self._writer_reader.read(
            [x.written for x in missing], [writer.encode(x.prompt, x.steps) for x in missing]
        )
        rationales, count = writer.write(written)
        self.tokens_written += count
        encoded = [
            self.scorer.encode_context(x.prompt, x.steps, rationale)
            for x, rationale in zip(missing, rationales, strict=True)
        ]
        scored = self._scorer_reader.read([x.scored for x in missing], encoded)
        new = (
            x._replace(scored=s, written=w, rationale=rationale)
            for x, s, w, rationale in zip(missing, scored, written, rationales, strict=True)
        )
        return [x if x.rationale is not None else next(new) for x in trajectories]

    def _score_steps(
        self, trajectories: Sequence[_Trajectory], steps: Sequence[str], keep_cache: bool
    ) -> list[tuple[Tensor, _Trajectory]]:
        """For each trajectory the score (1,) of its next step, and the trajectory with it."""
        longer = [(*x.steps, step) for x, step in zip(trajectories, steps, strict=True)]
        states = [x.scored for x in trajectories]
        encoded = [
            self.scorer.encode(x.prompt, own, x.rationale)
            for x, own in zip(trajectories, longer, strict=True)
        ]
        read = self._scorer_reader.read(states, encoded, keep_cache)
        scores = [state.scores for state in read]
        if self.scorer.contrastive:
            encoded = [
                self.scorer.encode(x.prompt, own)
                for x, own in zip(trajectories, longer, strict=True)
            ]
            without = self._scorer_reader.read(states, encoded, keep_cache=False)
            scores = [x - state.scores for x, state in zip(scores, without, strict=True)]
        after = (
            x._replace(steps=own, scored=state, rationale=None)
            for x, own, state in zip(trajectories, longer, read, strict=True)
        )
        return list(zip(scores, after, strict=True))
