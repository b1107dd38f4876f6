"""Step searches whose steps lie within a part of a solution: its thought, or what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reason_decode.core.splitting import Boundary, Pause, StepBoundary
from reason_decode.core.thinking import ScorePart, ThinkingTags, growing_part
from reason_decode.strategies.lookahead import LookaheadLoop
from reason_decode.strategies.step_search import SearchLoop

__all__ = ["PartBoundary", "PartLookaheadLoop", "PartLoop"]


class PartLoop(SearchLoop):
    """The rounds of a step search within a part of each text; see ``SearchLoop``."""

    def boundary(self, count: int, first: bool = False) -> Boundary:
        """The predicate that pauses after ``count`` steps of the part that is scored."""
        reader, part = self.reader, self.strategy.score_part
        # Behind the first round all rows are within the part.
        opened = any(reader.in_thought) if first else part == "thought"
        return PartBoundary(super().boundary(count, first), reader.tags, part, opened)

    def part(self, text: str, p: int) -> str:
        """The part of a text that is scored."""
        opened = self.reader.in_thought[p]
        return growing_part(text, self.strategy.score_part, self.reader.tags, opened)

    def continued(self, text: str) -> str:
        """The part that is scored of a text that continues such a part."""
        part = self.strategy.score_part
        return growing_part(text, part, self.reader.tags, part == "thought")


class PartLookaheadLoop(PartLoop, LookaheadLoop):
    """The same rounds with lookahead."""


@dataclass(frozen=True)
class PartBoundary:
    """A predicate on new tokens: true once the scored part of their text holds a whole step.

    Steps of the other part end nothing: with ``"answer"`` a thought is sampled in one go with the
    first step behind it, with ``"thought"`` all that follows it. All new tokens are decoded only
    where one may end a step.

    Args:
        boundary: a ``StepBoundary``, which ends steps of the whole text.
        tags: the texts before and after a thought.
        part: the part that is scored.
        opened: whether the new tokens begin inside a thought.
    """

    boundary: StepBoundary | Any
    tags: ThinkingTags
    part: ScorePart
    opened: bool

    def __call__(self, tokens: Sequence[int]) -> bool:
        """True if the scored part of ``tokens`` holds as many steps as the boundary waits for."""
        if not self.boundary.ends_separator(tokens):
            return False
        text = self.boundary.tokenizer.decode(list(tokens))
        if self.part == "thought" and self.tags.closing in text:
            return False
        part = growing_part(text, self.part, self.tags, self.opened)
        return len(self.boundary.splitter.complete(part)) >= self.boundary.count

    def pause(self, tokens: Sequence[int]) -> Pause:
        """The next place behind ``tokens`` to look at: a thought that is not scored is no such."""
        text = self.boundary.tokenizer.decode(list(tokens))
        closed = self.tags.closing in text
        if self.part == "thought":
            return Pause() if closed else self.boundary.pause(tokens)
        in_thought = not closed and (self.opened or self.tags.opening in text)
        return Pause(stops=(self.tags.closing,)) if in_thought else self.boundary.pause(tokens)
