"""What a model of wrong answers favours is held against each token."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from reason_decode.adapters.active import active_adapter
from reason_decode.processors.shadow import CachedSideModel, unpadded


class NegativeContrastLogitsProcessor(LogitsProcessor):
    r"""Subtracts what a negative model favours from what the generator does.

    ``(1 + weight) * logp - weight * logp_negative`` where ``p >= plausible * max(p)``, else -inf:
    without that mask a token nobody wants could win because the negative model wants it even less.

    One object serves one generation at a time, and any number of them in turn.

    Args:
        negative: a causal language model with the generator's vocabulary, trained on wrong
            solutions, say, or a weaker one.
        adapter: its name, where the negative model is a LoRA adapter: ``negative`` is then a model
            that has it, peft's or transformers', and may be the generator itself. It wears the
            adapter while it is read as the negative model, and then again what it wore before.
        weight: how strongly to subtract, 0 or more; 0 leaves only the mask.
        plausible: share of the likeliest token's probability that a token needs, in [0, 1].
        pad_token_id: pads rows on the left; ``None``: the negative model's own.

    Raises:
        ModuleNotFoundError: an adapter without peft.
        ValueError: an argument out of range, no such adapter, a cache that cannot be branched, or,
            when called, another vocabulary.

    Source: Li et al. 2023, 2210.15097, equation 3 with the mask of equation 2; in this form
    O'Brien and Lewis 2023, 2309.09117, section 2; the negative model: Li et al. 2024, 2312.12832.

    Example:
        >>> from reason_decode import NegativeContrastLogitsProcessor, tiny
        >>> t, weak = tiny.load(), tiny.load().model
        >>> contrast = NegativeContrastLogitsProcessor(weak, weight=0.5)
        >>> inputs = t.tokenizer(["1 + 2 =\n"], return_tensors="pt")
        >>> plain = t.model.generate(**inputs, max_new_tokens=20)
        >>> same = t.model.generate(**inputs, max_new_tokens=20, logits_processor=[contrast])
        >>> bool((plain == same).all())  # a model held against itself changes no choice
        True
    """

    def __init__(
        self,
        negative: PreTrainedModel | Any,
        *,
        adapter: str | None = None,
        weight: float = 0.5,
        plausible: float = 0.1,
        pad_token_id: int | None = None,
    ) -> None:
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"got weight={weight}; need a finite number of 0 or more")
        if not 0 <= plausible <= 1:
            raise ValueError(f"got plausible={plausible}; need a share between 0 and 1")
        self.weight, self.plausible = weight, plausible
        self.negative, self.adapter = negative, adapter
        with self._worn():
            # peft's own model does what the one in it does; that one has a decoder to read with.
            inner = getattr(negative, "get_base_model", lambda: negative)()
        self.shadow = CachedSideModel(inner, type(self).__name__)
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
        with self._worn():
            other = self.shadow.logits(unpadded(input_ids, self.pad))
        if other.shape != logp.shape:
            raise ValueError(
                f"the negative model has {other.shape[-1]} tokens, the generator {logp.shape[-1]}; "
                "pass a negative model with the same vocabulary"
            )
        contrasted = (1 + self.weight) * logp - self.weight * other.log_softmax(dim=-1)
        best = logp.max(dim=-1, keepdim=True).values
        floor = best + math.log(self.plausible) if self.plausible else best - math.inf
        # What an earlier processor has ruled out stays so, whatever the negative model thinks.
        return contrasted.masked_fill((logp < floor) | logp.isneginf(), -math.inf)

    def _worn(self) -> Any:
        return (
            nullcontext() if self.adapter is None else active_adapter(self.negative, self.adapter)
        )
