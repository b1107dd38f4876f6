"""Implicit process rewards: how much likelier a model finds each step than its reference does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts
from reason_decode.core.splitting import as_splitter
from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import EncodedSolution
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.scorers.base import Candidates, ScoreSpace, Session
from reason_decode.scorers.causal import CachedSession
from reason_decode.scorers.causal_reader import Span
from reason_decode.scorers.likelihood import SpanEncoder, token_logps
from reason_decode.scorers.process import ProcessRewardModel

__all__ = ["Implicit"]


class _StepLogps(ProcessRewardModel):
    """Scores a step by the log-probability of its tokens and of the separator after it."""

    format = "implicit"
    separator = "\n\n"
    reads_chat = True
    score_space: ScoreSpace = "log_probability"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any
    ) -> None:
        splitter = options.get("splitter")
        if splitter is not None and options.get("separator") is None:
            options["separator"] = as_splitter(splitter).joiner
        super().__init__(model, tokenizer, **options)
        self.chat = tokenizer.chat_template is not None
        self.next_token = NextTokenLogits(self.model)
        self.batch_tokens = self.next_token.limit_batch(self.batch_tokens)
        self.span_encoder = SpanEncoder(tokenizer, self.chat)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The answer so far, each step with its separator; the spans are these."""
        text = prompt
        if self.chat:
            message = {"role": "user", "content": prompt}
            text = self.cached_tokenizer.render_chat([message], generate=True)
        bounds = [len(text)]
        for step in steps:
            text += step + self.separator
            bounds.append(len(text))
        return self.span_encoder.encode(text, bounds)

    def forward(self, **inputs: Any) -> Tensor:
        """Features from which ``next_token`` reads logits, (b, t, c)."""
        return self.next_token.features(**inputs)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """The sum of each span's log-probabilities, (len(spans),)."""
        return torch.stack([logps.sum() for logps in token_logps(self.next_token, spans)])

    def prob_correct(self, features: Tensor) -> Tensor:
        """Not there: spans are scored by ``score_spans``."""
        raise NotImplementedError(f"{type(self).__name__} scores spans of tokens")


class Implicit(_StepLogps):
    r"""``beta * sum_{t up to the step's end} log p(token_t | ...) / p_reference(token_t | ...)``.

    The answer is a chat's last turn. Any model that was trained to prefer right answers with a
    reference model at its side (DPO, PRIME) is such a reward model. Both models read each token
    once. A step ends with the separator after it, also the last one, so that its score does not
    depend on what follows; the published script ends the last step with the end of the turn.

    Args:
        model: a causal language model that was trained to prefer right answers.
        tokenizer: the tokenizer of both models.
        reference: the model that its training started from, or the folder or Hub id to load it
            from.
        beta: factor of the log-ratios.
        options: see ``ProcessRewardModel``.

    Raises:
        ValueError: there is no reference, or it has another vocabulary.

    Source: Yuan et al. 2024, 2412.01981; Cui et al. 2025, 2502.01456; PRIME-RL/EurusPRM-Stage1 and
    -Stage2, of which the first takes the minimum of the steps and the second the last.
    """

    option_names = (*ProcessRewardModel.option_names, "reference", "beta")
    score_space: ScoreSpace = "reward"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        reference: PreTrainedModel | str | Path | None = None,
        beta: float = 0.001,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        if reference is None:
            raise ValueError(
                "got no reference=; an implicit reward is measured against the model that training "
                "started from: pass it, or its folder or Hub id (of EurusPRM: "
                "Qwen/Qwen2.5-Math-7B-Instruct)"
            )
        loaded: Any = reference
        if isinstance(reference, str | Path):
            loaded = load_checkpoint(AutoModelForCausalLM, reference, dtype=self.model.dtype)
            loaded = loaded.to(self.model.device)
        self.reference, self.beta = _StepLogps(loaded, tokenizer, **options), beta
        if self.reference.model.name_or_path:
            self.options["reference"] = hub_id_or_path(self.reference.model)
        if beta != 0.001:
            self.options["beta"] = beta

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Rewards of the steps of each solution; see ``Scorer.score``."""
        own = super().score(prompts, solutions)
        reference = self.reference.score(prompts, solutions)
        ratios = (a - b for a, b in zip(own, reference, strict=True))
        return [self.beta * x.cumsum(dim=0) for x in ratios]

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session in which both models read each prompt and each step once."""
        return _ImplicitSession(self, to_prompts(prompts))


class _ImplicitSession(Session):
    """A session of each model, and the sum of each trajectory; see ``Session``."""

    def __init__(self, format: Implicit, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self._beta = format.beta
        self._own = CachedSession(format, prompts)
        self._reference = CachedSession(format.reference, prompts)
        self._before = [0.0] * len(self.prompts)
        self._candidates: list[list[float]] = []
        self._count_tokens()

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Rewards of the new steps of each candidate."""
        own = self._own.score(candidates, keep_cache)
        reference = self._reference.score(candidates, keep_cache)
        self._count_tokens()
        rewards = [
            [before + self._beta * (x - y).cumsum(dim=0) for x, y in zip(a, b, strict=True)]
            for before, a, b in zip(self._before, own, reference, strict=True)
        ]
        self._candidates = [
            [float(x[-1]) if len(x) else before for x in group]
            for before, group in zip(self._before, rewards, strict=True)
        ]
        return rewards

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self._own.select(choice)
        self._reference.select(choice)
        self._before = [self._candidates[i][j] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]

    def _count_tokens(self) -> None:
        self.tokens_read = self._own.tokens_read + self._reference.tokens_read
