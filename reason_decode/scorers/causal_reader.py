"""A causal model with its tokenizer, and how it reads solutions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.splitting import Splitting, StepSplitter, as_splitter, splitter_for
from reason_decode.models.inputs import (
    CachedTokenizer,
    EncodedSolution,
    check_batch_tokens,
)
from reason_decode.models.wrapped import unwrap_peft

__all__ = ["CausalReader", "Span"]


class Span(NamedTuple):
    """A scored span of tokens after the forward pass.

    Attributes:
        features: what ``forward`` gave for its tokens, (k, c).
        next_ids: for each of its tokens the id of the token after it; shorter at a text's end.
    """

    features: Tensor
    next_ids: list[int]


class CausalReader(ABC):
    """A causal model with its tokenizer, the layout of its texts, and what its outputs mean.

    Subclasses write ``encode`` and, if they score, ``score_spans``.

    Args:
        model: the model, also in peft's wrapper; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: the text after each step in the model's input; ``None``: what joins the steps of
            ``splitter``, or a newline.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            the tokenizer has one.
        batch_tokens: largest number of tokens in one forward pass, padding included.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several; ``None``: at ``separator``, or at blank lines if that is a special token, which
            no generator writes.

    Attributes:
        separator: the text after each step in the model's input.
        splitter: splits a solution into steps.
        per_step: whether each step has a score of its own, and not only the whole solution.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or ``chat=True`` without
            a chat template.
    """

    per_step: bool = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str | None,
        chat: bool | None,
        batch_tokens: int,
        splitter: Splitting | None = None,
    ) -> None:
        self.cached_tokenizer = CachedTokenizer(tokenizer, model)
        check_batch_tokens(batch_tokens)
        self.model, self.tokenizer = unwrap_peft(model).eval(), tokenizer
        given = None if splitter is None else as_splitter(splitter).with_tokenizer(tokenizer)
        if separator is None:
            separator = "\n" if given is None else given.joiner
        elif given is None or separator:
            StepSplitter(separator)  # checks the text
        self.separator, self._has_own_splitter = separator, given is not None
        added: Any = tokenizer.get_added_vocab  # typed as the value of a special token
        self.splitter = given or splitter_for(separator, separator in added())
        self.chat = tokenizer.chat_template is not None if chat is None else chat
        if self.chat and tokenizer.chat_template is None:
            raise ValueError(
                "got chat=True for a tokenizer without a chat template; pass chat=False, or set "
                "tokenizer.chat_template"
            )
        self.batch_tokens = batch_tokens

    def splitter_settings(self) -> dict[str, Any]:
        """The argument ``splitter`` as plain JSON; nothing where it was not given."""
        return {"splitter": self.splitter.settings()} if self._has_own_splitter else {}

    @abstractmethod
    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """A prompt with its first steps as ids, and the spans that are scored."""

    def forward(self, **inputs: Any) -> Tensor:
        """The features of each token, (b, t, c); by default the last hidden states.

        Args:
            inputs: ids, mask, position ids and cache, as the model takes them.
        """
        return self.model.base_model(**inputs).last_hidden_state

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),).

        Args:
            spans: at least one.
        """
        raise NotImplementedError(f"{type(self).__name__} scores nothing")
