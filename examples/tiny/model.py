"""The tiny Llama with heads for verdicts, results and values, and its losses."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from examples.tiny.batch import DEAD_END, DIGITS, NO_DIGIT, RESULTS, VALUE, VERDICTS, Batch
from reason_decode.training.examples import IGNORE

RESULTS_LAYER = -3
"""Index of the hidden states that predict results and values; two layers are above it."""


def model_config(vocab_size: int) -> LlamaConfig:
    """The config of the tiny models, 2.7 M parameters with a vocabulary of 327."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=512,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


class LossWeights(NamedTuple):
    """Weights of the losses: next tokens, verdicts, results of two numbers, expressions' values."""

    tokens: float = 1.0
    verdicts: float = 1.0
    results: float = 0.0
    values: float = 0.0


class MultiHeadModel(nn.Module):
    """A causal language model with heads for verdicts, results of two numbers, and values.

    The verdict head says at the end of a step whether the step is right. The results head predicts
    what the two numbers left can make. Without it nothing would ask for the product of 3 and 8,
    since no problem has the target 24, and the verifier could not judge that target. It reads a
    hidden state below the top, so that the layers above can compare results with the target. From
    the same hidden state the value head predicts the values of expressions in chains of equations.

    Args:
        model: the language model; trained in place.
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model = model
        self.verdict = nn.Linear(model.config.hidden_size, len(VERDICTS))
        self.results = nn.Linear(model.config.hidden_size, RESULTS * DIGITS * (NO_DIGIT + 1))
        self.values = nn.Linear(model.config.hidden_size, VALUE * (NO_DIGIT + 1))

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Summed losses in nats, 0-dimensional, in the order of ``LossWeights``."""
        output = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
        hidden, below = output.last_hidden_state, output.hidden_states[RESULTS_LAYER]
        targets = batch.labels[:, 1:]
        learnt = targets != IGNORE
        logits = self.model.lm_head(hidden[:, :-1][learnt])
        return (
            F.cross_entropy(logits.float(), targets[learnt], reduction="sum"),
            self._verdict_loss(hidden, batch.verdicts),
            _digit_loss(self.results, below, batch.results),
            _digit_loss(self.values, below, batch.values),
        )

    def _verdict_loss(self, hidden: Tensor, verdicts: Tensor) -> Tensor:
        """Summed ``-log p(verdict)`` in nats; ``p(VALID) = p(DEAD_END) + p(RIGHT)``."""
        known = verdicts != IGNORE
        logp = self.verdict(hidden[known]).float().log_softmax(dim=-1)
        logp_valid = logp[:, DEAD_END:].logsumexp(dim=-1, keepdim=True)
        logp = torch.cat([logp, logp_valid], dim=-1)
        return F.nll_loss(logp, verdicts[known], reduction="sum")


def _digit_loss(head: nn.Linear, hidden: Tensor, digits: Tensor) -> Tensor:
    """Summed ``-log p(digits)`` in nats, predicted from ``hidden`` (b, t, h) at the known ones."""
    if not digits.shape[-1]:
        return hidden.new_zeros(())
    known = digits[..., 0] != IGNORE
    logits = head(F.rms_norm(hidden[known], hidden.shape[-1:])).float()
    return F.cross_entropy(logits.view(-1, NO_DIGIT + 1), digits[known].view(-1), reduction="sum")
