"""The kernels' public face: log-probabilities of given tokens in bounded memory."""

from reason_decode.ops import linear_token_logprobs, token_logprobs

__all__ = ["linear_token_logprobs", "token_logprobs"]
