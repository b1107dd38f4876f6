"""Next-token logits of causal language models, from hidden states where that gives the same.

A scorer needs the log-probabilities of single tokens. From the last hidden states and the output
matrix they can be computed without a matrix of logits, but models differ in what else they do:
Cohere multiplies its logits, Granite divides them, Gemma caps them, ModernBERT-decoder has a layer
before the output matrix, a quantized or an adapted matrix cannot be read. So each model is probed:
on a short input the shortcut has to give the model's own logits, or these are used.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from reason_decode.models.inputs import input_device

__all__ = ["LMHead", "NextTokenLogits", "find_lm_head"]

# Fields of configs by which some models multiply their logits, and others divide them.
_FACTORS = ("logit_scale", "logits_scaling", "lm_head_multiplier")
_PROBE = range(3, 9)
# Most logits of one forward pass where the model's own are needed: 1 GiB in float32.
_MAX_LOGITS = 1 << 28
# Rows of hidden states whose logits of all tokens are held at a time.
_NORMALIZED_ROWS = 64


class LMHead(NamedTuple):
    """The last layer of a language model, from hidden states to logits.

    ``cap(scale * hidden @ weight.T + bias)``.

    Attributes:
        weight: (v, h).
        bias: (v,) or ``None``.
        softcap: bound of the magnitude of a logit, ``cap(x) = softcap * tanh(x / softcap)``, or
            ``None``.
        scale: factor of the hidden states.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0

    def scale_hidden(self, hidden: Tensor) -> Tensor:
        """Last hidden states (t, h), multiplied by ``scale``, on the device of ``weight``."""
        hidden = hidden.to(self.weight.device)
        return hidden if self.scale == 1.0 else hidden * self.scale

    def logits(self, hidden: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """The logits of some tokens, (t, k) float32; ``None``: of all.

        Args:
            hidden: last hidden states, (t, h).
            tokens: their ids; only these rows of the output matrix are read.
        """
        rows: Any = slice(None) if tokens is None else list(tokens)
        logits = (self.scale_hidden(hidden) @ self.weight[rows].T).float()
        if self.bias is not None:
            logits = logits + self.bias[rows].float()
        return logits if self.softcap is None else self.softcap * (logits / self.softcap).tanh()


class NextTokenLogits:
    """The next-token logits of a causal language model, equal to ``model(ids).logits``.

    ``features`` runs the model; ``logits`` reads from its features. These are the last hidden
    states if logits computed from them equal the model's own on a short input, which is
    tried once, here; else they are the logits.

    Args:
        model: a causal language model in evaluation mode.

    Attributes:
        head: the output layer; ``None`` if features are logits.

    Raises:
        ValueError: the model gives no logits, or is on the meta device.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.head = model, find_lm_head(model)

    def limit_batch(self, batch_tokens: int) -> int:
        """Number of tokens of a forward pass, at most ``batch_tokens``, that bounds memory.

        Hidden states are small; a matrix of logits may be larger than the model.
        """
        if self.head is not None:
            return batch_tokens
        vocabulary = getattr(self.model.config.get_text_config(), "vocab_size", 1)
        return max(1, min(batch_tokens, _MAX_LOGITS // vocabulary))

    def features(self, **inputs: Any) -> Tensor:
        """The features of each token, (b, t, c).

        Args:
            inputs: ids, mask, position ids and cache, as the model takes them.
        """
        if self.head is None:
            return self.model(**inputs).logits
        return self.model.base_model(**inputs).last_hidden_state

    def log_normalizer(self, features: Tensor) -> Tensor:
        """``logsumexp`` of the logits of all tokens, (t,) float32, some rows at a time.

        Args:
            features: from ``features``, (t, c).
        """
        rows = features.split(_NORMALIZED_ROWS)
        head = self.head
        return torch.cat(
            [(x.float() if head is None else head.logits(x)).logsumexp(dim=-1) for x in rows]
        )

    def logits(self, features: Tensor, tokens: Sequence[int]) -> Tensor:
        """The logits of some tokens, (t, k) float32.

        Args:
            features: from ``features``, (t, c).
            tokens: k ids.
        """
        if self.head is None:
            return features[:, list(tokens)].float()
        return self.head.logits(features, tokens)


@torch.no_grad()
def find_lm_head(model: PreTrainedModel) -> LMHead | None:
    """The output layer by which hidden states give the model's own logits; ``None`` if none does.

    Args:
        model: a causal language model in evaluation mode.

    Raises:
        ValueError: the model gives no logits, or is on the meta device.
    """
    ids = torch.tensor([list(_PROBE)], device=input_device(model))
    embeddings: Any = model.get_input_embeddings()
    inputs = {"input_ids": ids % embeddings.num_embeddings, "use_cache": False}
    output: Any = model(**inputs)
    own = getattr(output, "logits", None)
    if own is None:
        raise ValueError(
            f"got a {type(model).__name__}, which has no output layer; pass a causal language "
            "model, as AutoModelForCausalLM loads it"
        )
    if own.is_meta:
        raise ValueError(
            f"got a {type(model).__name__} on the meta device, which has no weights; load it with "
            "from_pretrained"
        )
    heads = list(_possible_heads(model))
    if not heads or model.base_model is model:
        return None
    hidden = model.base_model(**inputs).last_hidden_state[0]
    return next((head for head in heads if _agree(head, hidden, own[0])), None)


def _possible_heads(model: PreTrainedModel) -> Iterator[LMHead]:
    """Output layers that a model may have by its config, the likeliest first."""
    layer: Any = model.get_output_embeddings()
    # An adapted layer is no nn.Linear; a quantized one has no plain matrix; an offloaded one has
    # its weights only during a forward pass.
    if not isinstance(layer, nn.Linear) or type(layer.weight) is not nn.Parameter:
        return
    if not layer.weight.is_floating_point() or layer.weight.is_meta:
        return
    config: Any = model.config.get_text_config()
    values = [getattr(config, name, None) for name in _FACTORS]
    numbers = [float(x) for x in values if isinstance(x, int | float) and x]
    scales = dict.fromkeys([*numbers, *(1 / x for x in numbers), 1.0])
    softcap = getattr(config, "final_logit_softcapping", None)
    for cap in dict.fromkeys([softcap, None]):
        for scale in scales:
            yield LMHead(layer.weight, layer.bias, cap, scale)


def _agree(head: LMHead, hidden: Tensor, own: Tensor) -> bool:
    """True if the logits of hidden states are the model's own, up to rounding."""
    if hidden.shape[-1] != head.weight.shape[1] or own.shape[-1] != len(head.weight):
        return False
    own = own.float().to(head.weight.device)
    # A logit is rounded to the model's dtype a few times, and its sum h times to float32.
    terms = hidden.shape[-1] ** 0.5
    relative = 4 * torch.finfo(head.weight.dtype).eps + 4 * terms * torch.finfo(torch.float32).eps
    difference = (head.logits(hidden) - own).abs().max()
    return bool(difference <= relative * own.abs().max())
