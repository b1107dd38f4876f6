"""The base class of scorers that read a solution with a causal model."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.scorers.cached_session import CachedSession, score_solutions
from reason_decode.scorers.causal_reader import CausalReader, Span

__all__ = ["CausalScorer"]


class CausalScorer(CausalReader, Scorer):
    """A scorer that reads a solution with a causal model, each token once.

    Subclasses write ``encode``, which lays a solution out as ids and says where it is scored, and
    ``score_spans``, which turns the model's features there into scores.

    Args:
        model: the model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: ends a step in a solution's text.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            the tokenizer has one.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or ``chat=True`` without
            a chat template.
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str,
        chat: bool | None,
        batch_tokens: int,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
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
        """Scores of each solution; a prompt is read once for several solutions in a row.

        Args:
            prompts: the prompt of each solution.
            solutions: texts, split at the separator, or lists of steps.

        Returns:
            For each solution float32 (s,) from a scorer of steps, (1,) from one of whole solutions;
            (0,) for a solution without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        return score_solutions(self, prompts, solutions)

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that reads each prompt and each step once."""
        return CachedSession(self, prompts)

    @abstractmethod
    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""
