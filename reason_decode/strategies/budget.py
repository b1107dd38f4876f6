"""A cap on the tokens that are sampled of each prompt."""

import math
from collections.abc import Sequence

from reason_decode.generation.batch import Branch, DecodeBatch


class Budget:
    """Tokens that may still be sampled of each prompt.

    Args:
        prompts: how many there are.
        cap: tokens of each; ``None``: as many as it takes.
    """

    def __init__(self, prompts: int, cap: int | None) -> None:
        self.cap, self.left = cap, [math.inf if cap is None else cap] * prompts

    def allows(self, prompt: int, candidates: int) -> bool:
        """Whether so many candidates can have a token each."""
        return self.left[prompt] >= candidates

    def ration(self, rows: DecodeBatch, owners: Sequence[int], n: int = 1) -> None:
        """Give each of n candidates of each row its share of what is left of the row's prompt."""
        if self.cap is not None:
            shares = [int(self.left[p]) // (n * owners.count(p)) for p in owners]
            rows.remaining_tokens = [
                min(pair) for pair in zip(rows.remaining_tokens, shares, strict=True)
            ]

    def spend(self, prompt: int, branches: Sequence[Branch]) -> None:
        """Take off what was sampled."""
        self.left[prompt] -= sum(len(branch.tokens) for branch in branches)


def check_budget(max_tokens: int | None, candidates: int) -> None:
    """Raise unless a cap on tokens leaves one for each candidate that is sampled side by side.

    Raises:
        ValueError: it does not.
    """
    if max_tokens is not None and not max_tokens >= candidates:
        raise ValueError(
            f"got max_tokens={max_tokens}; {candidates} candidates are sampled side by side and "
            f"need a token each: pass at least {candidates}, or None for no cap"
        )
