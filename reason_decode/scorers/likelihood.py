"""Likelihood: how probable a language model finds each step, given what came before."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import turns
from reason_decode.core.splitting import Splitting
from reason_decode.generation.token_stats import TokenStats
from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.inputs import EncodedSolution
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span

__all__ = ["LikelihoodScorer", "SpanEncoder", "token_logps"]


class LikelihoodScorer(CausalScorer):
    r"""Scores a step by the geometric mean of its tokens' probabilities, in [0, 1].

    ``exp(mean_t log p(token_t | prompt, all before t))``; with ``length_normalize=False`` the
    probability of the step, ``exp(sum_t log p(token_t | ...))``. The tokens are those of the step
    and of the separator after it or, with ``per_step=False``, those of the whole solution: the
    weight of a vote in the "weighted sum" of self-consistency. Prompt and steps are encoded as one
    text; a token belongs to the step in which it ends. Where the generator is this very model,
    ``BestOfN`` and ``SelfConsistency`` read its logits while it samples: the ids are exactly those
    that were sampled, the end of sequence included, and no token is read again.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: the text after each step in the model's input; ``None``: what joins the steps of
            ``splitter``, or a newline.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several; ``None``: at ``separator``.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            there is one.
        per_step: whether each step has a score, or the solution has one. In a step search the
            latter is computed again from the first step on in each round.
        length_normalize: whether to divide by the number of tokens. Without it the probability of
            long texts is 0 in float32, and of two texts the longer one loses even if its further
            tokens are nearly certain.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: the tokenizer gives no character offsets, or its vocabulary is larger than the
            model's.

    Source: Wang et al. 2023, 2203.11171, section 2, equation 1: the normalised probability.

    Examples:
        >>> from reason_decode import LikelihoodScorer, tiny
        >>> likely = LikelihoodScorer.from_pretrained(tiny.WEIGHTS / "base", chat=False)
        >>> steps = [["10 - 4 = 6 (left: 5 6 6)"], ["10 - 4 = 6 (left: 5 6 7)"]]
        >>> good, bad = likely.score(["Make 36 from 4 5 6 10.\n"] * 2, steps)
        >>> bool(good > bad)
        True
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        per_step: bool = True,
        length_normalize: bool = True,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.next_token = NextTokenLogits(self.model)
        self.batch_tokens = self.next_token.limit_batch(batch_tokens)
        self.per_step, self.length_normalize = per_step, length_normalize
        self.span_encoder = SpanEncoder(tokenizer, self.chat)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        per_step: bool = True,
        length_normalize: bool = True,
        **kwargs: Any,
    ) -> "LikelihoodScorer":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a local folder or a Hub id.
            separator: the text after each step in the model's input.
            splitter: where a solution's text is split into steps.
            chat: whether to use the chat template; ``None``: if there is one.
            per_step: whether each step has a score, or the solution has one.
            length_normalize: whether to divide by the number of tokens.
            kwargs: passed to ``AutoModelForCausalLM.from_pretrained``.
        """
        return cls(
            load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs),
            load_tokenizer(path_or_id),
            separator=separator,
            splitter=splitter,
            chat=chat,
            per_step=per_step,
            length_normalize=length_normalize,
        )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        own = {"per_step": self.per_step, "length_normalize": self.length_normalize}
        return {**super().settings(), **own}

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The text as ids; the spans are the steps with their separators, or all of them."""
        text = prompt
        if self.chat:
            text = self.cached_tokenizer.render_chat(turns(prompt), generate=True)
        bounds = [len(text)]
        # A separator follows each step, so those at the end of a whole text say nothing more.
        last = max((k for k, step in enumerate(steps, 1) if step.strip()), default=0)
        for step in steps[:last]:
            text += step + self.separator
            bounds.append(len(text))
        if not self.per_step:
            bounds = [bounds[0], bounds[-1]] if steps else bounds[:1]
        return self.span_encoder.encode(text, bounds)

    def reads_generation(self, model: object) -> bool:
        """True if the generator is this scorer's model: its own logits are then read."""
        return model is self.model

    def score_generated(self, solutions: Sequence[Sequence[TokenStats]]) -> list[Tensor]:
        """Likelihoods of the token ids that were sampled, the end of sequence included.

        Args:
            solutions: for each solution the statistics of its steps' tokens.
        """
        scores: list[Tensor] = []
        for steps in solutions:
            parts = [x.logps.cpu() for x in steps]
            if parts and not self.per_step:
                parts = [torch.cat(parts)]
            scores.append(self._likelihoods(parts) if parts else torch.zeros(0))
        return scores

    def _likelihoods(self, logps: Sequence[Tensor]) -> Tensor:
        # A step in which no token ends is certain.
        sums = torch.stack([x.sum() for x in logps])
        if self.length_normalize:
            sums = sums / torch.tensor([max(1, len(x)) for x in logps])
        return sums.exp()

    def forward(self, **inputs: Any) -> Tensor:
        """Features from which ``next_token`` reads logits, (b, t, c)."""
        return self.next_token.features(**inputs)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """``exp`` of the mean, or of the sum, of each span's log-probabilities."""
        logps = token_logps(self.next_token, spans)
        return torch.stack([(x.mean() if self.length_normalize else x.sum()).exp() for x in logps])


class SpanEncoder:
    """Encodes a text so that stretches of it are scored by their tokens' log-probabilities.

    Args:
        tokenizer: a tokenizer that gives character offsets.
        chat: whether the texts are rendered chats, which have their own beginning of sequence.

    Raises:
        ValueError: the tokenizer gives no character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: bool) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"got {type(tokenizer).__name__}, which gives no character offsets of its tokens; "
                "load a fast tokenizer, one with a tokenizer.json"
            )
        self.tokenizer = tokenizer
        self.special_ids: list[int] = [] if chat else list(tokenizer("")["input_ids"])

    def encode(self, text: str, bounds: Sequence[int]) -> EncodedSolution:
        """A text as ids; each stretch between two consecutive bounds is a scored span.

        A token belongs to the stretch in which it ends. The probability of a token is predicted at
        the token before it, so a span begins one token before its stretch and ends one token
        before its last.

        Args:
            text: the text, encoded as a whole.
            bounds: offsets in the text, in characters, ascending.
        """
        read = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        token_ends = [end for _, end in read["offset_mapping"]]
        # For each bound the number of tokens that end at or before it.
        counts = [len(self.special_ids) + bisect_right(token_ends, bound) for bound in bounds]
        score_positions = [count - 2 for count in counts[1:]]
        # A stretch in which no token ends is scored by the last token before it.
        span_starts = [
            max(0, min(count - 1, last))
            for count, last in zip(counts, score_positions, strict=False)
        ]
        return EncodedSolution(
            [*self.special_ids, *read["input_ids"]], score_positions, span_starts
        )


def token_logps(next_token: NextTokenLogits, spans: Sequence[Span]) -> list[Tensor]:
    """Log-probabilities of the ids after each span's tokens.

    Args:
        next_token: the logits of the model that gave the spans' features.
        spans: the spans, at least one.

    Returns:
        For each span float32 (t,), in nats.
    """
    # Imported here, so that other scorers work without the kernels on the path.
    from reason_decode.kernels import linear_token_logprobs, token_logprobs

    features = torch.cat([span.features for span in spans])
    ids = torch.tensor([token for span in spans for token in span.next_ids])
    head = next_token.head
    if head is None:
        logps = token_logprobs(features, ids.to(features.device))
    else:
        hidden = head.scale_hidden(features)
        logps = linear_token_logprobs(
            hidden, head.weight, ids.to(hidden.device), bias=head.bias, softcap=head.softcap
        )
    return list(logps.split([len(span.next_ids) for span in spans]))
