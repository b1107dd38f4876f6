"""The kernels' public face: log-probabilities of given tokens, and their deltas, without logits."""

from reason_decode.ops import LossDelta, linear_token_logprobs, loss_delta, token_logprobs

__all__ = ["LossDelta", "linear_token_logprobs", "loss_delta", "token_logprobs"]
