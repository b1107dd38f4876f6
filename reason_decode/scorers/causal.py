"""What scorers share that read a solution with a causal model, as plain text or as a chat."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.steps import StepSplitter
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.tokenization import CachedTokenizer, check_batch
from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.scorers.cached_session import CachedSession, EncodedSolution, Span, score_all


class Reader(Scorer):
    """A ``Judge`` (see ``reading.py``) that is a scorer itself.

    Args:
        model: the model, in evaluation mode from here on.
        tokenizer: its own; it need not be the generator's, text is the common ground.
        separator: what ends a step in a solution.
        chat: whether the prompt is a user's turn of the tokenizer's chat template; ``None``: if
            there is one.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or there is no chat
            template to use.
    """

    score_space: ScoreSpace = "probability"
    per_step = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str,
        chat: bool | None,
        batch_tokens: int,
    ) -> None:
        self.words = CachedTokenizer(tokenizer, model)
        check_batch(batch_tokens)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.splitter = StepSplitter(separator)
        self.chat = tokenizer.chat_template is not None if chat is None else chat
        if self.chat and tokenizer.chat_template is None:
            raise ValueError(
                "got chat=True for a tokenizer without a chat template; pass chat=False, or set "
                "tokenizer.chat_template"
            )
        self.batch_tokens = batch_tokens
        self.prompt_suffix = "" if self.chat else separator

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "separator": self.splitter.separator,
            "chat": self.chat,
        }

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """The scores of every solution; a prompt with several in a row is read once.

        Args:
            prompts: one a solution.
            solutions: text, split at the separator, or ready lists of steps.

        Returns:
            float32 (s,) a solution from a scorer of steps, (1,) from one of whole solutions; (0,)
            for a solution without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        return score_all(self, prompts, solutions)

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that reads each prompt and each step once."""
        return CachedSession(self, prompts)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids of a prompt with its first steps, and the places where it is judged."""
        raise NotImplementedError

    def read(self, **inputs: Any) -> Tensor:
        """The last hidden state of each token, (b, t, h)."""
        return self.model.base_model(**inputs).last_hidden_state

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""
        raise NotImplementedError
