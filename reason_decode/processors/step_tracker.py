"""The current step of each row of a running generation.

A logits processor gets token ids and nothing else: neither where the prompts end, nor which row of
the call before a row continues. ``StepTracker`` infers both from the ids of earlier calls, so rows
may be branched, dropped and reordered, and a processor may serve one generation after another.
"""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from reason_decode.core.splitting import StepBoundary, StepSplitter

Ids = tuple[int, ...]


class StepPosition(NamedTuple):
    """The current step of a row.

    Attributes:
        prompt_end: number of ids of the prompt.
        step_start: index of the first id of the current step.
    """

    prompt_end: int
    step_start: int


class StepTracker:
    """Tells for each row where its prompt ends and where its current step begins.

    A row that equals an earlier one plus one id continues it; any other row is a new prompt. When
    no row continues an earlier one, a new generation has begun and the earlier rows are forgotten.

    Args:
        tokenizer: the generator's tokenizer.
        splitter: splits text into steps.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, splitter: StepSplitter) -> None:
        self._boundary = StepBoundary(tokenizer, splitter)
        self._positions: dict[Ids, StepPosition] = {}

    def track(self, rows: Sequence[Sequence[int]]) -> list[StepPosition]:
        """The position of each row.

        Args:
            rows: ids without padding, those of one call of the processor.
        """
        found = [self._find(tuple(row)) for row in rows]
        if all(position is None for position in found):
            self._positions = {}
        positions = [
            position or StepPosition(len(row), len(row))
            for row, position in zip(rows, found, strict=True)
        ]
        self._positions |= {tuple(row): x for row, x in zip(rows, positions, strict=True)}
        return positions

    def _find(self, row: Ids) -> StepPosition | None:
        if row in self._positions:
            return self._positions[row]
        position = self._positions.get(row[:-1])
        if position is not None and self._boundary(row[position.step_start :]):
            return position._replace(step_start=len(row))
        return position
