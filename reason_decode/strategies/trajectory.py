"""A trajectory of a step search: what was said so far, how it scores, where it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reason_decode.core.records import Candidate
from reason_decode.generation.batch import Branch


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Some steps of a solution.

    Args:
        tokens: its new ids, (t,) int64.
        text: these as text.
        steps: the text's steps that are whole, or all if it has ended.
        scores: of the steps, float32 (s,).
        total: what it is ranked by.
        branch: where it can go on; ``None`` of a prompt alone.
        tree: the subtree that it belongs to.
        lookahead_text: what the generator went on to say when it was looked ahead.
    """

    tokens: Tensor
    text: str
    steps: tuple[str, ...]
    scores: Tensor
    total: float
    branch: Branch | None
    tree: int = 0
    lookahead_text: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it cannot go on."""
        return self.branch is not None and self.branch.stopped

    @property
    def finished(self) -> bool:
        """Whether it ended by itself."""
        return self.branch is not None and self.branch.finished

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: what was cut off last, then by score."""
        return self.ended and not self.finished, -self.total

    def candidate(self) -> Candidate:
        """It as a whole solution, for the trace."""
        scores, count = tuple(self.scores.tolist()), len(self.tokens)
        return Candidate(self.text, self.steps, scores, self.total, self.finished, count)


def shared(beam: Sequence[Trajectory]) -> Tensor:
    """The ids that all trajectories of a beam begin with, (t,) int64."""
    shortest = min(len(path.tokens) for path in beam)
    rows = torch.stack([path.tokens[:shortest] for path in beam])
    alike = (rows == rows[0]).all(dim=0).long().cumprod(dim=0)
    return rows[0, : int(alike.sum())]
