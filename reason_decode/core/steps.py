"""The steps of a solution: where they end in text, and in tokens while they are sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepSplitter:
    r"""Splits a solution into steps at a separator.

    ``split("a\n\nb\n") == ["a", "b"]`` for the separator ``"\n"``: blank pieces are dropped.

    Args:
        separator: the text that ends a step: ``"\n"`` for one step per line, ``"\n\n"`` for one
            per paragraph.

    Raises:
        ValueError: the separator is not text, or empty.

    Examples:
        >>> from reason_decode import StepSplitter
        >>> StepSplitter("\n\n").split("First this.\n\nThen that.\n")
        ['First this.', 'Then that.']
    """

    separator: str = "\n"

    def __post_init__(self) -> None:
        if not isinstance(self.separator, str):
            raise ValueError(
                f"got separator={self.separator!r}; pass the text that ends a step, such as '\\n'"
            )
        if not self.separator:
            raise ValueError(
                "got an empty separator; pass the text that ends a step, such as '\\n'"
            )

    def split(self, text: str) -> list[str]:
        """Steps of a text in order, without separators and surrounding white space."""
        pieces = (piece.strip() for piece in text.split(self.separator))
        return [piece for piece in pieces if piece]

    def complete(self, text: str) -> list[str]:
        """Steps of an unfinished text: those that a separator has ended."""
        return self.split(text.rpartition(self.separator)[0])


@dataclass
class StepBoundary:
    """A predicate on new tokens: true once they hold ``count`` whole steps.

    Only a token whose text has the last character of the separator can end a step. The text of all
    new tokens is decoded after such tokens only, and which tokens these are is cached.

    Args:
        tokenizer: decodes the sampled tokens.
        splitter: splits text into steps.
        count: number of steps to wait for.
    """

    tokenizer: Any
    splitter: StepSplitter
    count: int = 1
    _may_end: dict[int, bool] = field(default_factory=dict)

    def __call__(self, tokens: Sequence[int]) -> bool:
        """True if ``tokens``, sampled since the last boundary, hold ``count`` whole steps."""
        last = tokens[-1]
        if last not in self._may_end:
            self._may_end[last] = self.splitter.separator[-1] in self._text([last])
        if not self._may_end[last]:
            return False
        return len(self.splitter.complete(self._text(tokens))) >= self.count

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens))
