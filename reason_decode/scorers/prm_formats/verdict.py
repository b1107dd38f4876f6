"""The base class of process reward models that are language models and answer with a verdict."""

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.process import ProcessRewardModel

__all__ = ["VerdictFormat"]


class VerdictFormat(ProcessRewardModel):
    """A format of causal language models, which answer with one of some tokens.

    P(correct) is the probability of the first of ``verdicts`` among them:
    ``softmax(logits[verdicts])[0]``.

    Args:
        model: a causal language model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``.
        options: see ``ProcessRewardModel``.

    Attributes:
        verdicts: texts of the answers, the good one first.
    """

    verdicts: tuple[str, ...] = ("+", "-")

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any
    ) -> None:
        super().__init__(model, tokenizer, **options)
        self.next_token = NextTokenLogits(self.model)
        self.batch_tokens = self.next_token.limit_batch(self.batch_tokens)

    def forward(self, **inputs: Any) -> Tensor:
        """Features from which ``next_token`` reads logits, (b, t, c)."""
        return self.next_token.features(**inputs)

    def prob_correct(self, features: Tensor) -> Tensor:
        """``softmax(logits[verdicts])[0]``."""
        verdicts = [self.token_ids[verdict] for verdict in self.verdicts]
        return self.next_token.logits(features, verdicts).softmax(dim=-1)[:, 0]
