"""Outcome reward models: one score for a whole solution, or for its steps so far."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.inputs import EncodedSolution, check_loaded
from reason_decode.models.wrapped import unwrap_peft
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span

__all__ = ["OutcomeRewardModel"]


class OutcomeRewardModel(CausalScorer):
    r"""Scores a solution at its last token: ``sigmoid(score(hidden))``, or the reward itself.

    The text is a chat of the prompt and the solution, as it was generated, if the tokenizer has a
    chat template, else prompt and steps with a separator after each. Two labels (wrong, right) give
    ``softmax(score(hidden))[1]``.

    Args:
        model: a causal model for sequence classification with one label or two.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: ends a step in a solution.
        chat: whether to use the chat template; ``None``: if there is one.
        raw: whether scores are the head's outputs (``score_space`` is ``"reward"``) and not their
            sigmoids; with one label only.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: the model has another head, its vocabulary is smaller than the tokenizer's, or
            ``raw`` with two labels.

    Source: Cobbe et al. 2021, 2110.14168; Lightman et al. 2023, 2305.20050, section 2.5: the score
    at the last token.

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
        separator: str = "\n",
        chat: bool | None = None,
        raw: bool = False,
        batch_tokens: int = 16_384,
    ) -> None:
        check_loaded(model, tokenizer)
        model = unwrap_peft(model)
        labels = model.config.num_labels
        named = "SequenceClassification" in type(model).__name__ and hasattr(model, "score")
        if not named or labels not in (1, 2) or (raw and labels == 2):
            raise ValueError(
                f"got {type(model).__name__} with {labels} labels and raw={raw}; allowed is a "
                "causal model for sequence classification with one label, or two and raw=False"
            )
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
        self.raw, self.score_space = raw, "reward" if raw else "probability"

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        raw: bool = False,
        **kwargs: Any,
    ) -> "OutcomeRewardModel":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a local folder or a Hub id.
            separator: ends a step in a solution.
            chat: whether to use the chat template; ``None``: if there is one.
            raw: whether scores are the head's outputs and not their sigmoids.
            kwargs: passed to ``AutoModelForSequenceClassification.from_pretrained``.
        """
        model = load_checkpoint(AutoModelForSequenceClassification, path_or_id, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        return cls(model, tokenizer, separator=separator, chat=chat, raw=raw)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {**super().settings(), "raw": self.raw}

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids of the solution so far, scored at the last of them."""
        if self.chat:
            messages = [{"role": "user", "content": prompt}]
            solution = self.splitter.separator.join(steps)
            messages += [{"role": "assistant", "content": solution}] if steps else []
            text = self.cached_tokenizer.render_chat(messages, generate=not steps)
            ids = list(self.cached_tokenizer.encode(text))
        else:
            # A separator follows each step, so those at the end of a text say nothing more.
            last = max((k for k, step in enumerate(steps, 1) if step.strip()), default=0)
            separator = self.splitter.separator
            ids = self.cached_tokenizer.encode_plain(prompt, steps[:last], separator).ids
        return EncodedSolution(ids, [len(ids) - 1] if steps else [])

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """The score of each solution, (len(spans),)."""
        head: Any = self.model.get_submodule("score")
        logits = head(torch.cat([span.features for span in spans])).float()
        if logits.shape[-1] == 2:
            return logits.softmax(dim=-1)[:, 1]
        return logits[:, 0] if self.raw else logits[:, 0].sigmoid()
