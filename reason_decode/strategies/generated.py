"""A step search whose scorer reads the logits that the steps were sampled from."""

from collections.abc import Sequence

from torch import Tensor

from reason_decode.generation.interface import Generation
from reason_decode.scorers.base import Candidates, Session
from reason_decode.scorers.generated import score_branches
from reason_decode.strategies.step_search import SearchLoop, StepSearch, Trajectory


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
            steps = [path.steps[before:] for path in group]
            branches = [path.branch for path in group]
            scores = score_branches(self.strategy.scorer, branches, steps, self.strategy.tokenizer)
            scored.append([self.scored(path, new) for path, new in zip(group, scores, strict=True)])
        return scored


class _Idle(Session):
    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        raise AssertionError("the statistics of the generator are scored, not texts")

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        self.prompts = [self.prompts[row] for row, _ in choice]
