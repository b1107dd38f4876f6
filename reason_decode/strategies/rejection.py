"""Best-of-N that gives up its worst candidates on the way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import LongTensor

from reason_decode.core.solutions import Cost, Trace
from reason_decode.generation.interface import Generation
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

    merges_equal = False  # equal steps are different samples
    reject: float
    reject_every: int

    def kept(self, p: int, new: Mapping[Trajectory, Position]) -> list[Trajectory]:
        """Candidates that have ended and, of those that run, all but the worst share."""
        ended = [path for path in (*self.beams[p], *new) if path.branch.stopped]
        running = [path for path in new if not path.branch.stopped]
        if (len(self.rounds[p]) + 1) % self.reject_every == 0:
            count = math.ceil(len(running) * (1 - self.reject))
            best = sorted(running, key=lambda path: -path.total)[:count]
            running = [path for path in running if path in best]
        return [*ended, *running]


class _GeneratedRejectionLoop(GeneratedLoop, RejectionLoop):
    """The rounds of a rejection whose scorer reads the logits of the generator."""
