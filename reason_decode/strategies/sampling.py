"""Samples whole candidates of each prompt in turns, which may end early."""

from collections.abc import Callable, Sequence

from reason_decode.generation.interface import Generation
from reason_decode.generation.sampling import Branch
from reason_decode.strategies.base import SolutionReader, TokenBudget

IsEnough = Callable[[int, Sequence[str]], bool]
"""Given a prompt's index and the texts just sampled, returns whether it needs no more."""


def num_parallel(n: int) -> int:
    """Number of candidates sampled at a time where fewer than n may be enough: an eighth of n."""
    return max(1, n // 8)


def sample_in_turns(
    generation: Generation,
    reader: SolutionReader,
    n: int,
    max_tokens: int | None = None,
    is_enough: IsEnough | None = None,
) -> list[list[Branch]]:
    """Whole continuations of each prompt, n or fewer, sampled ``num_parallel(n)`` at a time.

    The prompts are read once; each turn samples from a copy of what was read.

    Args:
        generation: the call of ``generate``.
        reader: reads the texts.
        n: largest number of continuations of a prompt.
        max_tokens: maximum number of tokens sampled per prompt, over all its continuations;
            ``None``: no limit.
        is_enough: ends the sampling of a prompt early; ``None``: never.
    """
    prompts = generation.prefill()
    branches: list[list[Branch]] = [[] for _ in prompts.remaining_tokens]
    budget = TokenBudget(len(branches), max_tokens)
    active, asked = list(range(len(branches))), 0
    while active and asked < n:
        count = min(num_parallel(n), n - asked)
        asked += count
        rows = prompts.select(active)
        budget.limit(rows, active, count)
        flat = generation.sample(rows, count)
        done: set[int] = set()
        for k, p in enumerate(active):
            new = flat[k * count : (k + 1) * count]
            branches[p] += new
            budget.spend(p, new)
            texts = [reader.decode(branch.tokens) for branch in new] if is_enough else []
            if not budget.allows(p, count) or (is_enough is not None and is_enough(p, texts)):
                done.add(p)
        active = [p for p in active if p not in done]
    return branches
