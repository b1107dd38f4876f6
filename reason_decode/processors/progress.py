"""Where each row of a running generation stands: its prompt, and the step it is in.

A logits processor is shown ids and nothing else: neither where the prompts end, nor which row of
the call before a row continues. Both follow from what was shown before, so that rows may branch,
vanish and change places, and a processor may serve one generation after another.
"""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from reason_decode.core.steps import StepSplitter
from reason_decode.generation.step_boundary import StepBoundary

Ids = tuple[int, ...]


class Place(NamedTuple):
    """Where the current step of a row begins, and where its prompt ends, as numbers of ids."""

    prompt: int
    step: int


class Progress:
    """Tells of each row where its prompt ended and where its current step begins.

    A row that is one shown before with one more id goes on from it; any other is a new prompt. When
    no row goes on from any, what was shown is forgotten.

    Args:
        tokenizer: the generator's.
        splitter: says when a step has ended.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, splitter: StepSplitter) -> None:
        self._boundary = StepBoundary(tokenizer, splitter)
        self._shown: dict[Ids, Place] = {}

    def places(self, rows: Sequence[Sequence[int]]) -> list[Place]:
        """The place of each row, given its ids without padding."""
        found = [self._find(tuple(row)) for row in rows]
        if all(place is None for place in found):
            self._shown = {}
        places = [
            place or Place(len(row), len(row)) for row, place in zip(rows, found, strict=True)
        ]
        self._shown |= {tuple(row): place for row, place in zip(rows, places, strict=True)}
        return places

    def _find(self, row: Ids) -> Place | None:
        if row in self._shown:
            return self._shown[row]
        place = self._shown.get(row[:-1])
        if place is not None and self._boundary(row[place.step :]):
            return place._replace(step=len(row))
        return place
