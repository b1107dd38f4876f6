"""Lookahead: a step is ranked by the score of where greedy decoding leads from it."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from reason_decode.generation.sampling import Branch
from reason_decode.strategies.step_search import Position, SearchLoop, Trajectory


class LookaheadLoop(SearchLoop):
    """The rounds of a step search with lookahead; see ``SearchLoop``."""

    def score(self, groups: Sequence[Sequence[Trajectory]]) -> list[list[Trajectory]]:
        """The same trajectories, each with the total of where greedy decoding leads from it.

        All candidates become trajectories of the session for a moment, so that it scores what
        follows each of them; ``keep_cache=False`` lets nothing of that stay.
        """
        groups = super().score(groups)
        positions = [(row, k) for row, group in enumerate(groups) for k in range(len(group))]
        super().select(positions)
        self._index = {position: i for i, position in enumerate(positions)}
        paths = [groups[row][k] for row, k in positions]
        futures = self._roll_out(paths, [self.active[row][0] for row, _ in positions])
        new_steps = [[futures[i]] if futures.get(i) else [] for i in range(len(paths))]
        for i, scores in enumerate(self.session.score(new_steps, keep_cache=False)):
            if scores:
                total = self.total(torch.cat([paths[i].scores, scores[0]]))
                text = self.splitter.joiner.join(futures[i])
                paths[i] = replace(paths[i], total=total, lookahead_text=text)
        # An empty candidate for each: nothing is read, but select() can continue from them.
        self.session.score([[[]] for _ in paths])
        rest = iter(paths)
        return [[next(rest) for _ in group] for group in groups]

    def select(self, positions: Sequence[Position]) -> None:
        """Let the session continue with candidates, each of which is a trajectory of it by now."""
        super().select([(self._index[position], 0) for position in positions])

    def continued(self, text: str) -> str:
        """The part that has steps of a text that continues another one: all of it."""
        return text

    def _roll_out(self, paths: Sequence[Trajectory], owners: Sequence[int]) -> dict[int, list[str]]:
        """Index of a trajectory -> its next steps by greedy decoding, where it can continue."""
        going: dict[int, Branch] = {
            i: path.branch
            for i, path in enumerate(paths)
            if not path.branch.stopped and self.budget.allows(owners[i], owners.count(owners[i]))
        }
        if not going:
            return {}
        boundary = self.boundary(self.strategy.lookahead)
        rows = self.generation.resume([*going.values()])
        self.budget.limit(rows, [owners[i] for i in going])
        branches = self.generation.sample(rows, 1, boundary, greedy=True)
        for i, branch in zip(going, branches, strict=True):
            self.budget.spend(owners[i], [branch])
        texts = (self.continued(self.reader.decode(x.tokens)) for x in branches)
        return {i: self.splitter.split(text) for i, text in zip(going, texts, strict=True)}
