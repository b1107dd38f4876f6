"""Where one reasoning step ends: in text, and in tokens while they are sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from transformers import PreTrainedTokenizerBase


def decode(tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> str:
    """Token ids as text, without special tokens."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return text


@dataclass(frozen=True)
class StepSplitter:
    r"""Splits a solution into steps at a separator.

    ``split("a\n\nb\n") == ["a", "b"]`` for the separator ``"\n"``: blank pieces are no steps.

    Args:
        separator: the text that ends a step: ``"\n"`` for a step a line, ``"\n\n"`` for paragraphs.

    Raises:
        ValueError: the separator is no text, or empty.

    Example:
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
        """The steps of a text in order, without separators and surrounding white space."""
        pieces = (piece.strip() for piece in text.split(self.separator))
        return [piece for piece in pieces if piece]

    def complete(self, text: str) -> list[str]:
        """The steps of a text that is still growing: those that a separator has ended."""
        return self.split(text.rpartition(self.separator)[0])


@dataclass
class StepBoundary:
    """Tells, token by token, whether a row has just ended a step, or so many of them.

    Only tokens whose own text ends like the separator can end a step, so the text is decoded only
    after those; what was learnt of a token is remembered.

    Args:
        tokenizer: decodes the sampled tokens.
        splitter: says when a text has ended a step.
        count: steps to wait for.
    """

    tokenizer: PreTrainedTokenizerBase
    splitter: StepSplitter
    count: int = 1
    _suspects: dict[int, bool] = field(default_factory=dict)

    def __call__(self, tokens: Sequence[int]) -> bool:
        """Whether the tokens sampled since the last step hold ``count`` whole steps by now."""
        last = tokens[-1]
        if last not in self._suspects:
            self._suspects[last] = self.splitter.separator[-1] in self._text([last])
        if not self._suspects[last]:
            return False
        return len(self.splitter.complete(self._text(tokens))) >= self.count

    def _text(self, tokens: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(tokens))
        assert isinstance(text, str)
        return text
