"""Rationales as process supervision: a step is as good as a rationale makes it likely."""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.core.splitting import Splitting
from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import EncodedSolution, max_positions
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.base import ScoreSpace
from reason_decode.scorers.causal import MAX_SOLUTIONS, CausalScorer
from reason_decode.scorers.causal_reader import Span
from reason_decode.scorers.likelihood import SpanEncoder, token_logps
from reason_decode.scorers.rationale_session import RationaleSession
from reason_decode.scorers.rationale_writer import RationaleWriter, trajectory_text

__all__ = ["CONFIG_KEY", "RationaleScorer"]

CONFIG_KEY = "reason_decode_rationale_model"
"""Key in the ``config.json`` of rationale models, by which ``load_scorer`` tells their kind."""


class RationaleScorer(CausalScorer):
    r"""Scores a step by its log-likelihood given a rationale that was written for it.

    ``sum_i w_i logp(step_i | prompt, steps before, rationale, step_<i) / sum_i w_i`` in nats a
    token, with ``w_i = discount ** i``; with ``length_normalize=False`` the sum alone; with
    ``contrastive`` minus the same without the rationale. Before each step the writer writes one
    rationale for the trajectory so far, which all candidates share; rationales of earlier steps are
    not read.

    Args:
        writer: writes the rationales.
        model: the model that measures likelihood, such as the generator; ``None``: the writer's.
        tokenizer: the tokenizer of ``model``.
        chat: whether trajectory and step are a user's and an assistant's message; ``None``: if the
            tokenizer has a chat template.
        discount: weight of a token relative to the one before it; above 0, at most 1.
        contrastive: whether to subtract the log-likelihood without the rationale. The scores are
            then pointwise mutual information of step and rationale, which may be positive:
            ``score_space`` is ``"reward"``.
        length_normalize: whether to divide by the sum of the weights. A mean hides a step's few
            decisive tokens among many that are nearly certain; the sum is the step's probability.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: a discount out of range, a model without its tokenizer, or a tokenizer that
            gives no character offsets.

    Source: Jiang et al. 2024, 2410.01044, section 3.3; the mean: ``inference_no_length.py`` of
    JHU-CLSP/RATIONALYST at be0b1cf; the discount: ``inference.py`` there, and its filter.

    Examples:
        >>> from reason_decode import RationaleScorer, tiny
        >>> scorer = RationaleScorer.from_pretrained(tiny.WEIGHTS / "base", max_new_tokens=8)
        >>> steps = [["10 - 4 = 6 (left: 5 6 6)"], ["I like trains"]]
        >>> good, bad = scorer.score(["Make 36 from 4 5 6 10.\n"] * 2, steps)
        >>> bool(good > bad)
        True
    """

    score_space: ScoreSpace = "log_probability"

    def __init__(
        self,
        writer: RationaleWriter,
        model: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        chat: bool | None = None,
        discount: float = 1.0,
        contrastive: bool = False,
        length_normalize: bool = True,
        batch_tokens: int = 16_384,
    ) -> None:
        if not 0 < discount <= 1:
            raise ValueError(f"got discount={discount}; need more than 0 and at most 1")
        if (model is None) is not (tokenizer is None):
            raise ValueError("got a model without a tokenizer, or the reverse; pass both or none")
        super().__init__(
            model or writer.model,
            tokenizer or writer.tokenizer,
            writer.separator,
            chat,
            batch_tokens,
            writer.splitter if writer.splitter_settings() else None,
        )
        self.writer, self.discount = writer, discount
        self.contrastive, self.length_normalize = contrastive, length_normalize
        if contrastive:
            # A difference of log-probabilities may be positive.
            self.score_space = "reward"
        self.span_encoder = SpanEncoder(self.tokenizer, self.chat)
        self.next_token = NextTokenLogits(self.model)
        self.batch_tokens = self.next_token.limit_batch(batch_tokens)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        model: PreTrainedModel | str | Path | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        max_new_tokens: int | None = None,
        discount: float = 1.0,
        contrastive: bool = False,
        length_normalize: bool = True,
        **kwargs: Any,
    ) -> "RationaleScorer":
        """Load the rationale model and its tokenizer from a folder or the Hub; no remote code.

        Args:
            path_or_id: a local folder or a Hub id.
            model: the model that measures likelihood, or the folder or Hub id that it and its
                tokenizer are loaded from; ``None``: the rationale model.
            tokenizer: the tokenizer of a loaded ``model``.
            separator: the text after each step in the model's input.
            splitter: where a solution's text is split into steps; ``None``: at ``separator``.
            chat: whether to use chat templates; ``None``: for each model, if it has one.
            max_new_tokens: length of a rationale; ``None``: see ``RationaleWriter``.
            discount: weight of a token relative to the one before it; above 0, at most 1.
            contrastive: whether to subtract the log-likelihood without the rationale.
            length_normalize: whether to divide by the sum of the weights.
            kwargs: passed to ``AutoModelForCausalLM.from_pretrained``.
        """
        if isinstance(model, str | Path):
            loaded = load_checkpoint(AutoModelForCausalLM, model, **kwargs), load_tokenizer(model)
        else:
            loaded = model, tokenizer
        rationale_model = load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)
        # With an adapter's folder transformers names the model after its base.
        rationale_model.name_or_path = str(path_or_id)
        writer = RationaleWriter(
            rationale_model,
            load_tokenizer(path_or_id),
            separator=separator,
            splitter=splitter,
            chat=chat,
            max_new_tokens=max_new_tokens,
        )
        return cls(
            writer,
            *loaded,
            chat=chat,
            discount=discount,
            contrastive=contrastive,
            length_normalize=length_normalize,
        )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        own = {} if self.model is self.writer.model else {"model": hub_id_or_path(self.model)}
        return {
            "path_or_id": hub_id_or_path(self.writer.model),
            **own,
            "separator": self.separator,
            **self.splitter_settings(),
            "chat": self.chat,
            "max_new_tokens": self.writer.max_new_tokens,
            "discount": self.discount,
            "contrastive": self.contrastive,
            "length_normalize": self.length_normalize,
        }

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps that fit into the positions of both models, with rationales.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        limits = [max_positions(model) for model in (self.model, self.writer.model)]
        known = [limit for limit in limits if limit is not None]
        if not known:
            return len(steps)
        available = min(known) - self.writer.max_new_tokens

        def exceeds(k: int) -> bool:
            # A rationale of one character stands for one of max_new_tokens.
            scored = self.encode(prompt, steps[: k + 1], rationale=" ").ids
            written = self.writer.encode(prompt, steps[:k]).ids
            return max(len(scored), len(written)) > available

        return bisect_left(range(len(steps)), True, key=exceeds)

    def encode(
        self, prompt: str, steps: Sequence[str], rationale: str | None = None
    ) -> EncodedSolution:
        """The steps before the last, the rationale between its tags, and the last step, scored.

        Args:
            prompt: the prompt.
            steps: the steps; without any, nothing is scored.
            rationale: the rationale of the last step; ``None`` or ``""`` for none.
        """
        if not steps:
            return self.encode_context(prompt, (), rationale)
        text = self._context(prompt, steps[:-1], rationale)
        whole = text + steps[-1] + self.separator
        return self.span_encoder.encode(whole, [len(text), len(whole)])

    def encode_context(
        self, prompt: str, steps: Sequence[str], rationale: str | None
    ) -> EncodedSolution:
        """The steps and the rationale of the next one as ids; nothing is scored."""
        return self.span_encoder.encode(self._context(prompt, steps, rationale), ())

    def forward(self, **inputs: Any) -> Tensor:
        """Features from which ``next_token`` reads logits, (b, t, c)."""
        return self.next_token.features(**inputs)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """The weighted mean, or sum, of each span's log-probabilities, in nats."""
        return torch.stack([self._weighted(logps) for logps in token_logps(self.next_token, spans)])

    def start_session(self, prompts: Sequence[Prompt]) -> RationaleSession:
        """A session that writes one rationale for each trajectory and round."""
        return RationaleSession(self, to_prompts(prompts))

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of the steps of each solution; see ``Scorer.score``.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter)
        scores: list[Tensor] = []
        for start in range(0, len(steps), MAX_SOLUTIONS):
            window = slice(start, start + MAX_SOLUTIONS)
            scores += self._score_window(texts[window], steps[window])
        return scores

    def _score_window(
        self, prompts: Sequence[str], solutions: Sequence[Sequence[str]]
    ) -> list[Tensor]:
        """Scores of solutions few enough for one session to hold their prompts."""
        groups: dict[str, list[Sequence[str]]] = {prompt: [] for prompt in prompts}
        for prompt, steps in zip(prompts, solutions, strict=True):
            groups[prompt].append(steps)
        found = self.start_session(list(groups)).score(list(groups.values()), keep_cache=False)
        rest = {prompt: iter(scores) for prompt, scores in zip(groups, found, strict=True)}
        return [next(rest[prompt]) for prompt in prompts]

    def _context(self, prompt: str, steps: Sequence[str], rationale: str | None) -> str:
        text = trajectory_text(prompt, steps, self.separator)
        if rationale:
            text += self.writer.tags.around(rationale)
        if not self.chat:
            return text
        message = {"role": "user", "content": text}
        return self.cached_tokenizer.render_chat([message], generate=True)

    def _weighted(self, logps: Tensor) -> Tensor:
        weights = self.discount ** torch.arange(len(logps), device=logps.device)
        total = (weights * logps).sum()
        return total / weights.sum() if self.length_normalize else total
