"""Best-of-N that gives up its worst candidates on the way."""

import math
from collections.abc import Sequence
from typing import Any

from torch import LongTensor

from reason_decode.core.solutions import Cost, Trace
from reason_decode.generation.interface import Generation
from reason_decode.generation.sampling import Branch
from reason_decode.scorers.base import default_reduce
from reason_decode.strategies.generated import GeneratedLoop
from reason_decode.strategies.step_search import Position, SearchLoop, StepSearch, Trajectory

__all__ = ["check_rejection", "sample_with_rejection"]


def sample_with_rejection(
    best_of_n: Any, generation: Generation, prompts: Sequence[str]
) -> tuple[LongTensor, list[Trace], Cost]:
    """Sequences, traces and tokens spent of a ``BestOfN`` that rejects candidates.

    Args:
        best_of_n: the settings.
        generation: the call of ``generate``.
        prompts: the question of each prompt.
    """
    search = StepSearch(
        best_of_n.scorer,
        tokenizer=best_of_n.tokenizer,
        streamer=best_of_n.streamer,
        batch_rows=best_of_n.batch_rows,
        thinking_tags=best_of_n.thinking_tags,
        n=1,
        beam_width=best_of_n.n,
        max_tokens=best_of_n.max_tokens,
        reduce=best_of_n.reduce or default_reduce(best_of_n.scorer),
    )
    reads_logits = best_of_n.scorer.reads_generation(generation.model)
    loop = (_GeneratedRejectionLoop if reads_logits else RejectionLoop)(search, generation, prompts)
    loop.reject, loop.reject_every = best_of_n.reject, best_of_n.reject_every
    return loop.run()


def check_rejection(reject: float | None, score_part: str) -> None:
    """Raise unless these are settings of a rejection; see ``BestOfN``.

    Raises:
        ValueError: one is not allowed, or candidates are not scored whole.
    """
    if reject is None:
        return
    if not 0 < reject < 1:
        raise ValueError(f"got reject={reject!r}; need a share between 0 and 1, or None")
    if score_part != "both":
        raise ValueError(
            f"got reject={reject} with score_part={score_part!r}; candidates are compared by all "
            "that they have so far: drop one of them"
        )


class RejectionLoop(SearchLoop):
    """The rounds of a rejection, whose beam are the candidates; see ``SearchLoop``."""

    reject: float
    reject_every: int

    def continuations(
        self, p: int, parent: Trajectory, branches: Sequence[Branch]
    ) -> list[Trajectory]:
        """The continuations of a trajectory, not yet scored; equal ones are different samples."""
        one_by_one = (SearchLoop.continuations(self, p, parent, [one]) for one in branches)
        return [path for (path,) in one_by_one]

    def keep_best(
        self, p: int, groups: Sequence[Sequence[Trajectory]]
    ) -> list[tuple[Position, Position]]:
        """Keep what has ended and, of a prompt's running candidates, all but the worst share."""
        new: dict[Trajectory, Position] = {
            path: (row, k)
            for row, (owner, _) in enumerate(self.active)
            if owner == p
            for k, path in enumerate(groups[row])
        }
        running = [path for path in new if not path.branch.stopped]
        if (len(self.rounds[p]) + 1) % self.reject_every == 0:
            count = math.ceil(len(running) * (1 - self.reject))
            best = sorted(running, key=lambda path: -path.total)[:count]
            running = [path for path in running if path in best]
        ended = [path for path in (*self.beams[p], *new) if path.branch.stopped]
        beam = [*ended, *running]
        self.rounds[p].append(
            tuple(self._step(row, path, path in beam) for path, (row, _) in new.items())
        )
        index = {path: k for k, path in enumerate(new)}
        self.beams[p] = beam
        self.parent_index[p] = [index.get(path) for path in beam]
        return [((p, k), new[path]) for k, path in enumerate(beam) if not path.branch.stopped]


class _GeneratedRejectionLoop(GeneratedLoop, RejectionLoop):
    """The rounds of a rejection whose scorer reads the logits of the generator."""
