"""Sampling of a vote in which solutions of low confidence end early (DeepConf, online)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedTokenizerBase

from reason_decode.core.splitting import StepBoundary, StepSplitter
from reason_decode.core.voting import top_share
from reason_decode.generation.interface import Batch, Generation
from reason_decode.generation.sampling import Branch
from reason_decode.generation.token_stats import TokenStats
from reason_decode.strategies.base import SolutionReader
from reason_decode.strategies.sampling import IsEnough, num_parallel
from reason_decode.strategies.selection import Selector

__all__ = ["WarmUp", "sample_after_warm_up"]


@dataclass(frozen=True)
class WarmUp:
    """Settings of a warm-up.

    Args:
        n: solutions per prompt, the warm-up's among them.
        warm_up: solutions that are sampled whole.
        top: share of these; the least total among their best is the floor of the others.
        check_every: tokens between two checks of a solution.
    """

    n: int
    warm_up: int
    top: float
    check_every: int

    def floor(self, totals: Sequence[float]) -> float:
        """The least total of the top share of a warm-up."""
        kept = top_share(totals, self.top)
        return min(total for total, keep in zip(totals, kept, strict=True) if keep)


def sample_after_warm_up(
    generation: Generation,
    reader: SolutionReader,
    selector: Selector,
    tokenizer: PreTrainedTokenizerBase,
    settings: WarmUp,
    is_enough: IsEnough | None = None,
) -> tuple[list[list[Branch]], list[float]]:
    """Whole continuations of each prompt, those below the floor cut off, and the floors.

    After the warm-up, a continuation whose total so far is below the floor of its prompt samples no
    further token. The prompts are read once, and no token is read again.

    Args:
        generation: the call of ``generate``; it keeps the statistics of tokens.
        reader: reads the texts.
        selector: scores texts by these statistics.
        tokenizer: the generator's tokenizer.
        settings: see ``WarmUp``.
        is_enough: ends the sampling of a prompt early, asked after an eighth of n at a time;
            ``None``: never, and all are sampled at once.
    """
    prompts = generation.prefill(branchable=True)
    count = len(prompts.remaining_tokens)
    pieces = StepSplitter(tokens=settings.check_every, tokenizer=tokenizer)
    boundary = StepBoundary(tokenizer, pieces)
    sampler = _Sampler(generation, reader, selector, tokenizer, boundary)
    flat = generation.sample(prompts.select(range(count)), settings.warm_up)
    branches = [
        flat[start : start + settings.warm_up] for start in range(0, len(flat), settings.warm_up)
    ]
    floors = [settings.floor(totals) for totals in sampler.totals(range(count), branches)]
    left = settings.n - settings.warm_up
    active = _unsure(range(count), branches, reader, is_enough)
    while left and active:
        turn = left if is_enough is None else min(num_parallel(settings.n), left)
        left -= turn
        found = sampler.sample(prompts.select(active), active, turn, floors)
        for p, group in zip(active, found, strict=True):
            branches[p] += group
        active = _unsure(active, dict(zip(active, found, strict=True)), reader, is_enough)
    return branches, floors


def _unsure(
    prompts: Sequence[int],
    new: Sequence[Sequence[Branch]] | dict[int, list[Branch]],
    reader: SolutionReader,
    is_enough: IsEnough | None,
) -> list[int]:
    """The prompts that need more continuations; one that was cut off counts as without answer."""
    if is_enough is None:
        return list(prompts)
    texts = {p: [reader.decode(x.tokens) if x.stopped else "" for x in new[p]] for p in prompts}
    return [p for p in prompts if not is_enough(p, texts[p])]


@dataclass(frozen=True)
class _Sampler:
    generation: Generation
    reader: SolutionReader
    selector: Selector
    tokenizer: PreTrainedTokenizerBase
    boundary: StepBoundary

    def totals(
        self, prompts: Sequence[int], branches: Sequence[Sequence[Branch]]
    ) -> list[list[float]]:
        """The totals of the continuations of each of these prompts."""
        texts = [
            [
                self.selector.candidate(
                    self.reader.decode(branch.tokens), in_thought=self.reader.in_thought[p]
                )
                for branch in group
            ]
            for p, group in zip(prompts, branches, strict=True)
        ]
        scored = self.selector.score_generated(texts, branches, self.tokenizer)
        return [[candidate.total or 0.0 for candidate in group] for group in scored]

    def sample(
        self, rows: Batch, prompts: Sequence[int], n: int, floors: Sequence[float]
    ) -> list[list[Branch]]:
        """N continuations of each row, each up to its end or until it falls below its floor."""
        found = self.generation.sample(rows, n, self.boundary, branchable=True)
        owners = [p for p in prompts for _ in range(n)]
        going = list(range(len(found)))
        while above := self._above(going, owners, found, floors):
            for k in set(going) - set(above):
                # The memory of what is cut off is free for the others.
                found[k] = replace(found[k], row=None, ids=None, cache=None)
            going = above
            rows = self.generation.resume([found[k] for k in going])
            more = self.generation.sample(rows, 1, self.boundary, branchable=True)
            for k, branch in zip(going, more, strict=True):
                found[k] = _joined(found[k], branch)
        return [found[start : start + n] for start in range(0, len(found), n)]

    def _above(
        self,
        going: Sequence[int],
        owners: Sequence[int],
        found: Sequence[Branch],
        floors: Sequence[float],
    ) -> list[int]:
        """Those that can go on and whose total so far is not below the floor."""
        going = [k for k in going if not found[k].stopped]
        totals = self.totals([owners[k] for k in going], [[found[k]] for k in going])
        return [k for k, (x,) in zip(going, totals, strict=True) if x >= floors[owners[k]]]


def _joined(branch: Branch, more: Branch) -> Branch:
    """A continuation with what followed it."""
    assert branch.stats is not None and more.stats is not None
    pairs = zip(branch.stats, more.stats, strict=True)
    tokens = torch.cat([branch.tokens, more.tokens])
    return replace(more, tokens=tokens, stats=TokenStats(*(torch.cat(pair) for pair in pairs)))
