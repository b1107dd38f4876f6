"""Samples whole candidates of each prompt, all at once or in turns that may end early."""

from collections.abc import Callable, Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.solutions import Candidate
from reason_decode.generation.engine import Generation
from reason_decode.generation.sampling import Branch
from reason_decode.models.inputs import decode
from reason_decode.strategies.base import TokenBudget

IsEnough = Callable[[int, Sequence[str]], bool]
"""Given a prompt's index and the texts just sampled, returns whether it needs no more."""


def num_parallel(n: int) -> int:
    """Number of candidates sampled at a time where fewer than n may be enough: an eighth of n."""
    return max(1, n // 8)


def sample_candidates(
    generation: Generation,
    tokenizer: PreTrainedTokenizerBase,
    make_candidate: Callable[..., Candidate],
    n: int,
    max_tokens: int | None = None,
    is_enough: IsEnough | None = None,
) -> tuple[list[list[Tensor]], list[list[Candidate]]]:
    """Read each prompt once and sample n whole candidates of it, or fewer.

    Args:
        generation: the call of ``generate``.
        tokenizer: the generator's tokenizer.
        make_candidate: called with a text, ``finished=`` and ``tokens=``; see
            ``Selector.candidate``.
        n: candidates per prompt.
        max_tokens: maximum number of tokens sampled per prompt, over all its candidates; ``None``:
            no limit.
        is_enough: ends the sampling of a prompt early; ``None``: never.

    Returns:
        The new token ids, (t,) int64, and the candidates, both nested by prompt.
    """
    if max_tokens is None and is_enough is None:
        flat = generation.sample(generation.prefill(), n)
        branches = [flat[start : start + n] for start in range(0, len(flat), n)]
    else:
        branches = _sample_in_turns(generation, tokenizer, n, max_tokens, is_enough)
    tokens = [[branch.tokens for branch in group] for group in branches]
    candidates = [
        [
            make_candidate(decode(tokenizer, x.tokens), finished=x.finished, tokens=len(x.tokens))
            for x in group
        ]
        for group in branches
    ]
    return tokens, candidates


def _sample_in_turns(
    generation: Generation,
    tokenizer: PreTrainedTokenizerBase,
    n: int,
    max_tokens: int | None,
    is_enough: IsEnough | None,
) -> list[list[Branch]]:
    """The branches of each prompt, sampled ``num_parallel(n)`` at a time.

    The prompts are read once; each turn samples from a copy of what was read.
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
            texts = [decode(tokenizer, branch.tokens) for branch in new] if is_enough else []
            if not budget.allows(p, count) or (is_enough is not None and is_enough(p, texts)):
                done.add(p)
        active = [p for p in active if p not in done]
    return branches
