"""Detects the end of a step while tokens are sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from reason_decode.core.steps import StepSplitter


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
