"""Contrastive decoding against a model of wrong answers."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from reason_decode.adapters.active import active_adapter
from reason_decode.processors.side_model import CachedSideModel, unpadded


class NegativeContrastLogitsProcessor(LogitsProcessor):
    r"""Contrastive decoding: subtracts a negative model's log-probabilities from the generator's.

    ``(1 + weight) * logp - weight * logp_negative`` where ``p >= plausibility * max(p)``, else
    -inf. Without this mask a token that both models find unlikely could win, because the negative
    model finds it even less likely.

    One object serves one generation at a time, and any number of generations in turn.

    Args:
        negative: a causal language model with the generator's vocabulary: a weaker one, or one
            trained on wrong solutions.
        adapter: name of a LoRA adapter of ``negative`` that makes it the negative model. Then
            ``negative`` may be the generator itself: the adapter is active only while ``negative``
            is read here. ``None``: ``negative`` as it is.
        weight: strength of the contrast, 0 or more; 0 leaves only the mask.
        plausibility: share of the likeliest token's probability that a token needs, in [0, 1]; the
            paper's alpha.
        pad_token_id: id of the padding on the left; ``None``: that of the negative model's config.

    Raises:
        ModuleNotFoundError: an adapter is named and peft is not installed.
        ValueError: an argument is out of range, there is no such adapter, the cache cannot be
            branched, or (when called) the vocabularies differ.

    Source: Li et al. 2023, 2210.15097, equation 3 with the mask of equation 2; in this form
    O'Brien and Lewis 2023, 2309.09117, section 2; the negative model: Li et al. 2024, 2312.12832.

    Examples:
        >>> from reason_decode import NegativeContrastLogitsProcessor, tiny
        >>> t, weak = tiny.load(), tiny.load().model
        >>> contrast = NegativeContrastLogitsProcessor(weak, weight=0.5)
        >>> inputs = t.tokenizer(["1 + 2 =\n"], return_tensors="pt")
        >>> plain = t.model.generate(**inputs, max_new_tokens=20)
        >>> same = t.model.generate(**inputs, max_new_tokens=20, logits_processor=[contrast])
        >>> bool((plain == same).all())  # contrasted with itself, a model keeps its choices
        True
    """

    def __init__(
        self,
        negative: PreTrainedModel | Any,
        *,
        adapter: str | None = None,
        weight: float = 0.5,
        plausibility: float = 0.1,
        pad_token_id: int | None = None,
    ) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"got weight={weight}; need a finite number of 0 or more")
        if not 0 <= plausibility <= 1:
            raise ValueError(f"got plausibility={plausibility}; need a share between 0 and 1")
        self.weight, self.plausibility = weight, plausibility
        self.negative, self.adapter = negative, adapter
        with self._adapter():
            # A PeftModel wraps the transformers model, which shares its active adapter.
            inner = getattr(negative, "get_base_model", lambda: negative)()
        self.side_model = CachedSideModel(inner, type(self).__name__)
        self.pad = negative.config.pad_token_id if pad_token_id is None else pad_token_id

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The contrasted log-probabilities.

        Args:
            input_ids: (r, t) int64, padded on the left.
            scores: (r, v), the generator's logits or log-probabilities.

        Returns:
            (r, v) float32 in nats, not normalised.
        """
        logp = scores.float().log_softmax(dim=-1)
        with self._adapter():
            other = self.side_model.logits(unpadded(input_ids, self.pad))
        if other.shape != logp.shape:
            raise ValueError(
                f"the negative model has {other.shape[-1]} tokens, the generator {logp.shape[-1]}; "
                "pass a negative model with the same vocabulary"
            )
        contrasted = (1 + self.weight) * logp - self.weight * other.log_softmax(dim=-1)
        best = logp.max(dim=-1, keepdim=True).values
        floor = best + math.log(self.plausibility) if self.plausibility else best - math.inf
        # Tokens that an earlier processor has ruled out stay ruled out.
        return contrasted.masked_fill((logp < floor) | logp.isneginf(), -math.inf)

    def _adapter(self) -> Any:
        return (
            nullcontext() if self.adapter is None else active_adapter(self.negative, self.adapter)
        )
