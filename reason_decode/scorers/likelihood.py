"""Likelihood: how probable a language model finds each step, given what came before."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.heads import lm_head_of, output_layer
from reason_decode.scorers.cached_session import EncodedSolution, Span
from reason_decode.scorers.causal import Reader


class LikelihoodScorer(Reader):
    r"""Scores a step by the geometric mean of its tokens' probabilities, in [0, 1].

    ``exp(mean_t log p(token_t | prompt, all before t))``, with ``mean=False`` the probability of
    the step, ``exp(sum_t log p(token_t | ...))``; over the tokens of the step and of the
    separator behind it, or, with ``per_step=False``, over those of the whole solution: the weight
    of a vote in the "weighted sum" of self-consistency. Prompt and steps are tokenised as one text;
    a token belongs to the step in which it ends.

    Args:
        model: a causal language model.
        tokenizer: the model's own; it need not be the generator's, text is the common ground.
        separator: what ends a step in a solution.
        chat: whether the prompt is a user's turn of the tokenizer's chat template; ``None``: if
            there is one.
        per_step: a score a step, or one for the solution; of a solution that grows round by round
            that one is read anew each time.
        mean: whether to divide by the number of tokens. The probability of long texts is 0 in
            float32, and the longer of two that differ by words that follow by themselves loses.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: a tokenizer that cannot say where its tokens stand in the text, or a vocabulary
            larger than the model's.

    Source: Wang et al. 2023, 2203.11171, section 2, equation 1: the normalised probability.

    Example:
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
        tokenizer: Tokenizer,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        per_step: bool = True,
        mean: bool = True,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
        output_layer(model)
        self.per_step, self.mean = per_step, mean
        self.text = Text(tokenizer, self.chat)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        per_step: bool = True,
        mean: bool = True,
        **kwargs: Any,
    ) -> "LikelihoodScorer":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a local folder or a Hub id.
            separator: what ends a step in a solution.
            chat: whether to use the chat template; ``None``: if there is one.
            per_step: a score a step, or one for the solution.
            mean: whether to divide by the number of tokens.
            kwargs: passed to ``AutoModelForCausalLM.from_pretrained``.
        """
        model = load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        how: dict[str, Any] = {"separator": separator, "chat": chat, "per_step": per_step}
        return cls(model, tokenizer, **how, mean=mean)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {**super().settings(), "per_step": self.per_step, "mean": self.mean}

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The text as ids; each step is judged from the id before its first on."""
        text = prompt
        if self.chat:
            text = self.words.chat([{"role": "user", "content": prompt}], generate=True)
        bounds = [len(text)]
        for step in steps:
            text += step + self.splitter.separator
            bounds.append(len(text))
        if not self.per_step:
            bounds = [bounds[0], bounds[-1]] if steps else bounds[:1]
        return self.text.encode(text, bounds)

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """``exp(mean(log p))`` of each span's ids, or of the sum."""
        logps = token_logps(self.model, spans)
        return torch.stack([(x.mean() if self.mean else x.sum()).exp() for x in logps])


class Text:
    """Text as ids, with the places at which stretches of it are judged by their likelihood.

    Args:
        tokenizer: one that says where its tokens stand in the text.
        chat: whether the texts are chats.

    Raises:
        ValueError: a tokenizer that does not say so.
    """

    def __init__(self, tokenizer: Tokenizer, chat: bool) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"got {type(tokenizer).__name__}, which does not say where its tokens stand in the "
                "text; load a fast tokenizer, one with a tokenizer.json"
            )
        self.tokenizer = tokenizer
        # A chat template writes its own beginning of sequence.
        self.head: list[int] = [] if chat else list(tokenizer("")["input_ids"])

    def encode(self, text: str, bounds: Sequence[int]) -> EncodedSolution:
        """The ids of a text; what lies between two bounds that follow each other is judged.

        Args:
            text: all of it, tokenised as one; a token lies where it ends.
            bounds: places in the text, in characters, ascending.
        """
        read = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        stops = [stop for _, stop in read["offset_mapping"]]
        after = [len(self.head) + bisect_right(stops, bound) for bound in bounds]
        # What comes after a place is judged at it; a step that shares its only token has that.
        ends = [stop - 2 for stop in after[1:]]
        starts = [min(a - 1, end) for a, end in zip(after, ends, strict=False)]
        return EncodedSolution(
            [*self.head, *read["input_ids"]], ends, [max(0, start) for start in starts]
        )


def token_logps(model: PreTrainedModel, spans: Sequence[Span]) -> list[Tensor]:
    """Log-probabilities of the ids of each span, float32 (t,) in nats, without logits in memory.

    Args:
        model: a causal language model, whose last hidden states the spans hold.
        spans: hidden states (t, h) and the ids that follow them.
    """
    # Here, so that whoever scores no likelihoods can do without the kernels' folder on the path.
    from reason_decode.kernels import linear_token_logprobs

    output = lm_head_of(model)
    hidden = output.scaled(torch.cat([span.features for span in spans]))
    ids = [token for span in spans for token in span.following]
    logps = linear_token_logprobs(
        hidden,
        output.weight,
        torch.tensor(ids, device=hidden.device),
        bias=output.bias,
        softcap=output.softcap,
    )
    return list(logps.split([len(span.following) for span in spans]))
