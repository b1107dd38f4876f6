"""Process reward models that are models for token classification."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.inputs import EncodedSolution, check_loaded
from reason_decode.models.wrapped import unwrap_peft
from reason_decode.scorers.prm_formats.base import PRMFormat

__all__ = ["NEUTRAL", "TokenClassification"]

NEUTRAL = {"positive": 1.0, "half": 0.5, "negative": 0.0}
"""Ways to count the middle of three labels -> the share of its probability that is right."""


class TokenClassification(PRMFormat):
    """Prompt, then each step and a separator, each encoded alone (the layout of TRL).

    P(correct) is read at the separator's last token: the probability of the label that the config
    calls ``right``; without such a label, of the second of two labels, or of all but the first of
    three (wrong, neutral, right: PRM800K's ratings).

    Args:
        model: a model for token classification with two or three labels.
        tokenizer: the tokenizer of ``model``.
        neutral: what the second of three labels counts as: ``"positive"``, ``"negative"``, or
            ``"half"`` of its probability as right; ``None``: as described above.
        options: see ``PRMFormat``.

    Raises:
        ValueError: the model is another one, or ``neutral`` is none of these words or does not go
            with the labels.

    Source: trl 1.13, trl/experimental/prm/prm_trainer.py; three labels: Lightman et al. 2023,
    2305.20050, section 2.6, where neutral counts as right, and appendix F, which compares both.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        neutral: str | None = None,
        **options: Any,
    ) -> None:
        check_loaded(model, tokenizer)
        model = unwrap_peft(model)
        labels, count = model.config.id2label or {}, model.config.num_labels
        if "TokenClassification" not in type(model).__name__ or count not in (2, 3):
            raise ValueError(
                f"got {type(model).__name__} with {count} labels; allowed is token classification "
                "with two labels (wrong, right) or three (wrong, neutral, right). For other models "
                "pass format=, one of reason_decode.scorers.prm_formats.FORMATS"
            )
        super().__init__(model, tokenizer, **options)
        self.prompt_suffix = self.splitter.separator
        named = [int(k) for k, label in labels.items() if label == "right"]
        self.shares = torch.tensor([float(k in named if named else k > 0) for k in range(count)])
        if neutral is not None:
            if neutral not in NEUTRAL or count != 3 or named not in ([], [2]):
                raise ValueError(
                    f"got neutral={neutral!r} with labels {dict(labels)}; allowed are "
                    f"{', '.join(NEUTRAL)}, for three labels in the order wrong, neutral, right"
                )
            self.shares[1] = NEUTRAL[neutral]

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """A model for token classification; see ``PRMFormat.load``."""
        return load_checkpoint(AutoModelForTokenClassification, path_or_id, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``[bos] prompt (step separator)*``."""
        return self.cached_tokenizer.encode_plain(prompt, steps, self.splitter.separator)

    def forward(self, **inputs: Any) -> Tensor:
        """The label logits of each token, (b, t, 2 or 3)."""
        return self.model(**inputs).logits

    def prob_correct(self, features: Tensor) -> Tensor:
        """``sum of share * softmax(logits)``, with the share of each label that counts as right."""
        return (features.float().softmax(dim=-1) * self.shares.to(features.device)).sum(dim=-1)
