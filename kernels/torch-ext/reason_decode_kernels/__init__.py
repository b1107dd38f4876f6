"""Log-probabilities of given tokens and loss deltas, without a matrix of logits; unchecked.

The checked functions, with complete documentation, are in ``reason_decode.kernels``.
"""

from .linear_token_logprobs import linear_token_logprobs
from .loss_delta import LossDelta, loss_delta
from .token_logprobs import token_logprobs

__all__ = ["LossDelta", "linear_token_logprobs", "loss_delta", "token_logprobs"]
