"""Statistics of the distributions that tokens were sampled from, kept where a scorer reads them."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.models.inputs import decode

__all__ = ["TokenStats", "stats_of_steps", "token_stats"]

TOP = 20
"""Likeliest tokens whose log-probabilities make the confidence of a position, as in DeepConf."""


class TokenStats(NamedTuple):
    r"""Statistics of t sampled tokens under the model's own logits, before any logits processor.

    Each is float32 (t,), in nats. p is the distribution that the model gave at a position.

    Attributes:
        logps: log-probability of the token that was sampled.
        entropies: ``-sum_v p_v log p_v``.
        confidences: ``-mean_k log p_k`` over the 20 likeliest tokens; greater where one token
            takes nearly all probability. Source: Fu et al. 2025 (DeepConf), 2508.15260, eq. 2.
        certainties: ``KL(uniform || p) = -log V - mean_v log p_v``. Source: Kang et al. 2025
            (self-certainty), 2502.18581, eq. 8.
    """

    logps: Tensor
    entropies: Tensor
    confidences: Tensor
    certainties: Tensor

    @classmethod
    def of_row(cls, columns: Sequence[Tensor], row: int) -> "TokenStats":
        """The statistics of one row of a batch, whose tokens were sampled column by column."""
        return cls(*torch.stack([column[row] for column in columns], dim=1))

    def part(self, start: int, end: int) -> "TokenStats":
        """The statistics of the tokens from ``start`` up to ``end``."""
        return TokenStats(*(x[start:end] for x in self))


def token_stats(logits: Tensor, tokens: Tensor, held: Sequence[int] | None = None) -> Tensor:
    """The four statistics of a token for each row, float32 (r, 4), as ``TokenStats`` orders them.

    Args:
        logits: (h, v), the model's own; ``-inf`` rules a token out.
        tokens: the token that was sampled in each row, (r,) int64.
        held: the rows that have logits, h of them; ``None``: all. The others get zeros.
    """
    if held is not None and len(held) < len(tokens):
        all_rows = logits.new_zeros(len(tokens), 4, dtype=torch.float32)
        all_rows[held] = token_stats(logits, tokens[held])
        return all_rows
    logps = logits.float().log_softmax(dim=-1)
    # A token that is ruled out has probability 0 and says nothing of how certain the model is.
    possible = torch.isfinite(logps)
    known = logps.masked_fill(~possible, 0.0)
    count = possible.sum(dim=-1)
    top = known.masked_fill(~possible, -torch.inf).topk(min(TOP, logps.shape[-1]), dim=-1).values
    in_top = torch.isfinite(top)
    return torch.stack(
        [
            logps.gather(1, tokens[:, None])[:, 0],
            -(known.exp() * possible * known).sum(dim=-1),
            -top.masked_fill(~in_top, 0.0).sum(dim=-1) / in_top.sum(dim=-1),
            -count.log() - known.sum(dim=-1) / count,
        ],
        dim=1,
    )


def stats_of_steps(
    stats: TokenStats, tokens: Tensor, steps: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[TokenStats]:
    """The statistics of each step's tokens; a token belongs to the step in which it ends.

    What separates a step from the next one, and the end of sequence, belong to the step before.

    Args:
        stats: of all tokens of the solution.
        tokens: the solution's token ids, (t,) int64.
        steps: its steps, in order, as they stand in its text.
        tokenizer: decodes the tokens.
    """
    if len(steps) < 2:
        return [stats] * len(steps)
    text, bounds, place = decode(tokenizer, tokens), [0], len(steps[0])
    place += max(0, text.find(steps[0]))
    for step in steps[1:]:
        start = max(place, text.find(step, place))
        ends = range(1, len(tokens) + 1)
        before = bisect_right(ends, start, key=lambda n: len(decode(tokenizer, tokens[:n])))
        bounds.append(max(bounds[-1], before))
        place = start + len(step)
    return [stats.part(*ends) for ends in pairwise([*bounds, len(tokens)])]
