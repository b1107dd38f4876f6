"""Outcome reward models: one score for a whole solution, or for its steps so far."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.core.messages import turns
from reason_decode.core.splitting import Splitting
from reason_decode.models.checkpoint import load_checkpoint, load_config, load_tokenizer
from reason_decode.models.heads import body_with_head, head_shapes, make_head, tensors_under
from reason_decode.models.inputs import EncodedSolution, check_loaded
from reason_decode.models.lm_head import NextTokenLogits
from reason_decode.models.wrapped import unwrap_peft
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span

__all__ = ["OutcomeRewardModel"]

# Nothing in the files of this language model says what it was trained for.
_RLHFLOW_ORM = re.compile(r"rlhflow.*\borm\b", re.IGNORECASE)


class OutcomeRewardModel(CausalScorer):
    r"""Scores a solution at its last token: ``sigmoid(head(hidden))``, or the reward itself.

    The text is a chat of the prompt and the solution, as it was generated, if the tokenizer has a
    chat template, else prompt and steps with a separator after each. Two labels (wrong, right) give
    ``softmax(head(hidden))[1]``.

    A causal language model with ``verdicts`` reads one user turn of the prompt, a space and the
    solution, and its score is P(first verdict) against P(second) where it answers.

    Args:
        model: a causal model for sequence classification with one label or two, or a body with a
            reward head, as ``from_pretrained`` makes it; a causal language model, for verdicts.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: the text after each step in the model's input; ``None``: what joins the steps of
            ``splitter``, or a newline.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several; ``None``: at ``separator``.
        chat: whether to use the chat template; ``None``: if there is one.
        raw: whether scores are the head's outputs (``score_space`` is ``"reward"``) and not their
            sigmoids; with one label only.
        verdicts: the texts of a language model's two answers, the good one first, such as
            ``("+", "-")``.
        system: the system turn of the chat.
        chat_template_kwargs: further arguments of the chat template.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: the model has another head, its vocabulary is smaller than the tokenizer's, or
            ``raw`` with two labels.

    Source: Cobbe et al. 2021, 2110.14168; Lightman et al. 2023, 2305.20050, section 2.5: the score
    at the last token; verdicts: RLHFlow/RLHF-Reward-Modeling, math-rm/orm_evaluate.py.

    Examples:
        >>> from transformers import AutoModelForSequenceClassification
        >>> from reason_decode import OutcomeRewardModel, tiny
        >>> t = tiny.load()
        >>> model = AutoModelForSequenceClassification.from_pretrained(
        ...     tiny.WEIGHTS / "base", num_labels=1
        ... )  # its head is new and has learned nothing
        >>> orm = OutcomeRewardModel(model, t.tokenizer)
        >>> [tuple(x.shape) for x in orm.score(["1 + 2 =\n"] * 2, ["3", "1 + 2 = 4\n4"])]
        [(1,), (1,)]
    """

    per_step = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        raw: bool = False,
        verdicts: Sequence[str] | None = None,
        system: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        check_loaded(model, tokenizer)
        model = unwrap_peft(model)
        _check_head(model, raw, verdicts)
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.raw, self.score_space = raw, "reward" if raw else "probability"
        self.cached_tokenizer.system = self.system = system
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.cached_tokenizer.chat_template_kwargs = self.chat_template_kwargs
        self.verdicts = None if verdicts is None else tuple(verdicts)
        self.next_token = None if verdicts is None else NextTokenLogits(self.model)
        if self.next_token is not None:
            self.batch_tokens = self.next_token.limit_batch(batch_tokens)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        raw: bool = False,
        verdicts: Sequence[str] | None = None,
        system: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> "OutcomeRewardModel":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        The model is one for sequence classification; or a body with the head of its ``score.*``
        tensors, as in Qwen2.5-Math-RM; or a language model, with ``verdicts``.

        Args:
            path_or_id: a local folder or a Hub id.
            separator: the text after each step in the model's input.
            splitter: where a solution's text is split into steps.
            chat: whether to use the chat template; ``None``: if there is one.
            raw: whether scores are the head's outputs and not their sigmoids.
            verdicts: the two answers of a language model; ``None``: ``("+", "-")`` for one whose
                name says RLHFlow and ORM.
            system: the system turn of the chat.
            chat_template_kwargs: further arguments of the chat template.
            kwargs: passed to transformers' ``from_pretrained``.
        """
        kinds = " ".join(load_config(path_or_id).architectures or [])
        if verdicts is None and "CausalLM" in kinds and _RLHFLOW_ORM.search(str(path_or_id)):
            verdicts = ("+", "-")
        return cls(
            _load(path_or_id, kinds, verdicts is not None, **kwargs),
            load_tokenizer(path_or_id),
            separator=separator,
            splitter=splitter,
            chat=chat,
            raw=raw,
            verdicts=verdicts,
            system=system,
            chat_template_kwargs=chat_template_kwargs,
        )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        own: dict[str, Any] = {"raw": self.raw}
        if self.verdicts is not None:
            own["verdicts"] = list(self.verdicts)
        if self.system is not None:
            own["system"] = self.system
        if self.chat_template_kwargs:
            own["chat_template_kwargs"] = self.chat_template_kwargs
        return {**super().settings(), **own}

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids of the solution so far, scored at the last of them."""
        solution = self.separator.join(steps)
        if self.verdicts is not None:
            messages = turns(prompt)
            if steps:
                messages[-1]["content"] += f" {solution}"
            text = self.cached_tokenizer.render_chat(messages, generate=True)
            ids = list(self.cached_tokenizer.encode(text))
        elif self.chat:
            messages = turns(prompt)
            messages += [{"role": "assistant", "content": solution}] if steps else []
            text = self.cached_tokenizer.render_chat(messages, generate=not steps)
            ids = list(self.cached_tokenizer.encode(text))
        else:
            # A separator follows each step, so those at the end of a text say nothing more.
            last = max((k for k, step in enumerate(steps, 1) if step.strip()), default=0)
            separator = self.separator
            ids = self.cached_tokenizer.encode_plain(prompt, steps[:last], separator).ids
        return EncodedSolution(ids, [len(ids) - 1] if steps else [])

    def forward(self, **inputs: Any) -> Tensor:
        """The features of each token, (b, t, c)."""
        if self.next_token is not None:
            return self.next_token.features(**inputs)
        return super().forward(**inputs)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """The score of each solution, (len(spans),)."""
        features = torch.cat([span.features for span in spans])
        if self.next_token is not None and self.verdicts is not None:
            tokens = [self.cached_tokenizer.token_id(verdict) for verdict in self.verdicts]
            return self.next_token.logits(features, tokens).softmax(dim=-1)[:, 0]
        return self.score_logits(_head_of(self.model)(features))

    def score_logits(self, logits: Tensor) -> Tensor:
        """The scores, (k,), of the outputs of the head for k solutions, (k, labels)."""
        logits = logits.float()
        if logits.shape[-1] == 2:
            return logits.softmax(dim=-1)[:, 1]
        return logits[:, 0] if self.raw else logits[:, 0].sigmoid()


def _head_of(model: PreTrainedModel) -> nn.Module:
    """The head of a model for sequence classification, or the one put on a body."""
    return model.get_submodule("reward_head" if hasattr(model, "reward_head") else "score")


def _check_head(model: PreTrainedModel, raw: bool, verdicts: Sequence[str] | None) -> None:
    """Raise unless the model has a head of one label or two, or answers with two verdicts."""
    if verdicts is not None:
        if isinstance(verdicts, str) or len(verdicts) != 2 or raw:
            raise ValueError(
                f"got verdicts={verdicts!r} and raw={raw}; need the texts of two tokens, the good "
                "one first, such as ('+', '-'), and raw=False"
            )
        return
    labels = model.config.num_labels
    named = "SequenceClassification" in type(model).__name__ and hasattr(model, "score")
    if hasattr(model, "reward_head"):
        named, labels = True, list(_head_of(model).parameters())[-1].shape[0]
    if not named or labels not in (1, 2) or (raw and labels == 2):
        raise ValueError(
            f"got {type(model).__name__} with {labels} labels and raw={raw}; allowed is a causal "
            "model for sequence classification with one label, or two and raw=False; or a causal "
            "language model with verdicts="
        )


def _load(path_or_id: str | Path, kinds: str, has_verdicts: bool, **kwargs: Any) -> PreTrainedModel:
    """The model of a checkpoint, with the head that it has."""
    if has_verdicts:
        return load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)
    if "SequenceClassification" not in kinds and "score.0.weight" in head_shapes(path_or_id):
        head = make_head(tensors_under(path_or_id, "score."))
        return body_with_head(path_or_id, head, "score.", **kwargs)
    return load_checkpoint(AutoModelForSequenceClassification, path_or_id, **kwargs)
