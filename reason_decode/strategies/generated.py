"""A step search whose scorer reads the logits that the steps were sampled from."""

from collections.abc import Sequence

from torch import Tensor

from reason_decode.generation.engine import Generation
from reason_decode.generation.token_stats import stats_of_steps
from reason_decode.scorers.base import Candidates, Session, candidate_names, check_finite
from reason_decode.strategies.step_search import Position, SearchLoop, StepSearch, Trajectory


class GeneratedLoop(SearchLoop):
    """The rounds of a step search by ``Scorer.score_generated``; see ``SearchLoop``."""

    def __init__(
        self, strategy: StepSearch, generation: Generation, prompts: Sequence[str]
    ) -> None:
        generation.keep_stats = True
        super().__init__(strategy, generation, prompts, _Idle(prompts))

    def score(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories with the scores of the steps that this round sampled."""
        scored: list[list[Trajectory]] = []
        for (p, k), group in zip(self.active, groups, strict=True):
            before = len(self.beams[p][k].steps)
            stats = [
                stats_of_steps(
                    path.branch.stats,
                    path.branch.tokens,
                    path.steps[before:],
                    self.strategy.tokenizer,
                )
                for path in group
                if path.branch is not None and path.branch.stats is not None
            ]
            scores = self.strategy.scorer.score_generated(stats)
            check_finite(scores, candidate_names([[path.steps for path in group]]))
            scored.append([self.scored(path, new) for path, new in zip(group, scores, strict=True)])
        return scored

    def select(self, positions: Sequence[Position]) -> None:
        """Nothing is kept by candidate."""
        self.session.prompts = [self.session.prompts[row] for row, _ in positions]


class _Idle(Session):
    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        raise AssertionError("the statistics of the generator are scored, not texts")

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        raise AssertionError("the statistics of the generator are scored, not texts")
