"""The base class of the formats of process reward models."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.inputs import EncodedSolution
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span

__all__ = ["PRMFormat", "VerdictFormat"]


class PRMFormat(CausalScorer):
    """The layout of the text that a published process reward model reads, and of its scores.

    Each step is scored at one token. Subclasses write ``encode`` and ``prob_correct``.

    Args:
        model: the model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: ends a step in a solution's text; ``None`` for the format's own.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Attributes:
        required_tokens: texts that must have a token: the step's tag, or the verdicts.
        token_ids: text -> id, for each of these.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or the tokenizer lacks
            one of ``required_tokens``.
    """

    separator: str = "\n"
    required_tokens: tuple[str, ...] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(
            model,
            tokenizer,
            self.separator if separator is None else separator,
            chat=False,
            batch_tokens=batch_tokens,
        )
        # Most formats put something of their own between prompt and steps.
        self.prompt_suffix = ""
        self.token_ids = {x: self.cached_tokenizer.token_id(x) for x in self.required_tokens}

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The model of a checkpoint with the head that this format reads.

        Args:
            path_or_id: a folder or a Hub id.
            kwargs: passed to transformers' ``from_pretrained``.
        """
        return load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """P(correct) of each step, (len(spans),)."""
        return self.prob_correct(torch.cat([span.features for span in spans]))

    @abstractmethod
    def prob_correct(self, features: Tensor) -> Tensor:
        """P(correct), (k,), from the features that ``forward`` gave for k tokens, (k, c)."""

    def _at_tags(self, ids: Sequence[int], tag: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids up to the last tag; each step is scored at its tag."""
        positions = [k for k, token in enumerate(ids) if token == self.token_ids[tag]]
        if len(positions) != len(steps):
            raise ValueError(
                f"got {len(positions)} step tags in the text of {len(steps)} steps; prompt and "
                f"steps must not contain {tag!r}, which marks a step's end"
            )
        return EncodedSolution(list(ids[: positions[-1] + 1] if positions else ids), positions)


class VerdictFormat(PRMFormat):
    """A format of causal language models, which answer with one of some tokens.

    P(correct) is the probability of the first of ``verdicts`` among them:
    ``softmax(logits[verdicts])[0]``.

    Args:
        model: a causal language model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``.
        options: see ``PRMFormat``.

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
