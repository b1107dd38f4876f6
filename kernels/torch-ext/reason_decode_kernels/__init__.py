"""Log-probabilities of given tokens and loss deltas, without the logits."""

from .linear_token_logprobs import linear_token_logprobs
from .loss_delta import LossDelta, loss_delta
from .token_logprobs import token_logprobs

__all__ = ["LossDelta", "linear_token_logprobs", "loss_delta", "token_logprobs"]
