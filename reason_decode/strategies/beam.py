"""Trajectories of a step search, and which of them a beam keeps."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from reason_decode.core.solutions import Candidate
from reason_decode.generation.sampling import Branch

StateKey = Callable[[Sequence[str]], Hashable]
"""Given the steps of a trajectory, returns what its future depends on."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The beginning of a solution: some of its steps, or all if it has ended.

    Args:
        tokens: its new ids, (t,) int64.
        text: the tokens as text.
        steps: the steps of the text that a separator has ended; all steps if the trajectory has
            ended.
        scores: float32 (s,), one per step, or one per round from a scorer of whole solutions.
        total: the number it is ranked by.
        branch: the engine's state to continue from; ``None`` for a bare prompt.
        subtree: index of the part of the beam that it belongs to.
        lookahead_text: greedy continuation that ``total`` was scored by; ``None`` without
            lookahead.
    """

    tokens: Tensor
    text: str
    steps: tuple[str, ...]
    scores: Tensor
    total: float
    branch: Branch | None
    subtree: int = 0
    lookahead_text: str | None = None

    @property
    def ended(self) -> bool:
        """True if it cannot be continued: finished, or cut off by a limit."""
        return self.branch is not None and self.branch.stopped

    @property
    def finished(self) -> bool:
        """True if it ended by itself."""
        return self.branch is not None and self.branch.finished

    @property
    def sort_key(self) -> tuple[bool, float]:
        """Ascending sort key: trajectories that were cut off come last, then by total."""
        return self.ended and not self.finished, -self.total

    def candidate(self) -> Candidate:
        """The trajectory as a whole solution, for the trace."""
        scores, count = tuple(self.scores.tolist()), len(self.tokens)
        return Candidate(self.text, self.steps, scores, self.total, self.finished, count)


def select_beam(
    trajectories: Iterable[Trajectory],
    *,
    width: int,
    subtrees: int,
    state_key: StateKey | None,
    margin: float | None,
) -> list[Trajectory]:
    """The trajectories that a beam keeps, subtree by subtree, the best of each first.

    Args:
        trajectories: the candidates; where two rank alike, the first is kept.
        width: trajectories to keep, a multiple of ``subtrees``.
        subtrees: each subtree keeps the best ``width / subtrees`` of its own.
        state_key: of trajectories of a subtree with the same key only the best is kept; ``None``:
            all are different.
        margin: drop what scores lower than the subtree's best by more than this; ``None``: nothing.

    Raises:
        TypeError: ``state_key`` returned something that cannot be hashed.
    """
    ranked = sorted(trajectories, key=lambda path: path.sort_key)
    beam: list[Trajectory] = []
    for subtree in range(subtrees):
        own = _dedupe([path for path in ranked if path.subtree == subtree], state_key)
        beam += _within_margin(own[: width // subtrees], margin)
    return beam


def _dedupe(ranked: list[Trajectory], state_key: StateKey | None) -> list[Trajectory]:
    """The first trajectory of each key."""
    if state_key is None:
        return ranked
    first: dict[Hashable, Trajectory] = {}
    for path in ranked:
        key = state_key(path.steps)
        if not isinstance(key, Hashable):
            raise TypeError(
                f"got a {type(key).__name__} from state_key, which cannot be hashed; let it return "
                "a tuple, a frozenset or text"
            )
        first.setdefault(key, path)
    return list(first.values())


def _within_margin(ranked: list[Trajectory], margin: float | None) -> list[Trajectory]:
    """The trajectories whose total is at most ``margin`` below the first one's."""
    if margin is None or not ranked:
        return ranked
    # The first was cut off only if all were: a finished trajectory is never dropped for a cut one.
    lowest = ranked[0].total - margin
    return [path for path in ranked if path.total >= lowest]


def ranked_results(beam: Sequence[Trajectory], count: int) -> list[Trajectory]:
    """The final trajectories, finished ones first, then by total; at least ``count`` of them.

    Where there are fewer than ``count``, the best are repeated.
    """
    ranked = sorted(beam, key=lambda path: (not path.finished, -path.total))
    return [ranked[k % len(ranked)] for k in range(max(count, len(ranked)))]
