"""Splitting a solution into reasoning steps."""

from dataclasses import dataclass


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
