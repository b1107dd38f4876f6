"""Detects the end of a step while tokens are sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from reason_decode.core.steps import StepSplitter


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

    tokenizer: PreTrainedTokenizerBase
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
        text = self.tokenizer.decode(list(tokens))
        assert isinstance(text, str)
        return text
