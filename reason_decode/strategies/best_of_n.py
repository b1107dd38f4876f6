"""Best-of-N: sample n solutions, score each, return the best."""

from dataclasses import KW_ONLY, dataclass

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.host import Generation
from reason_decode.records import Cost, Trace
from reason_decode.scorers.base import Reduce, Scorer, check_reduce
from reason_decode.strategies.base import (
    Strategy,
    check_count,
    check_positive,
    pack,
    sample_pool,
    score_pool,
)


@dataclass(frozen=True, eq=False)
class BestOfN(Strategy):
    """Sample n solutions of each prompt and return the one that scores best.

    ``argmax_i reduce(scorer(prompt, solution_i))``; of equal scores the one sampled first wins.
    ``num_return_sequences=k`` returns the k best, best first. A solution cut off by the token
    budget is scored as it stands. With n=1 the tokens are those of plain ``generate``.

    Args:
        scorer: judges the solutions.
        tokenizer: the generator's.
        n: solutions a prompt.
        reduce: how step scores become one number: "prod", "min", "last" or "mean".

    Raises:
        ValueError: n or reduce is not allowed; at the call, what cannot be done there.

    Source: Let's Verify Step by Step (Lightman et al. 2023, 2305.20050), sections 2.2 and 2.6.
    """

    scorer: Scorer
    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 8
    reduce: Reduce = "prod"

    def __post_init__(self) -> None:
        check_positive(n=self.n)
        check_reduce(self.reduce)

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample, score, choose."""
        check_count(generation, self.n, self.n, "n candidates")
        pool = sample_pool(generation, self.tokenizer, self.scorer.splitter, self.n)
        candidates, read = score_pool(pool, self.scorer, self.reduce)
        chosen: list[tuple[int, ...]] = []
        for group in candidates:
            totals = [c.total or 0.0 for c in group]
            order = sorted(range(self.n), key=lambda i: -totals[i])
            chosen.append(tuple(order[: generation.copies]))
        traces = [
            Trace(prompt, type(self).__name__, tuple(group), picks)
            for prompt, group, picks in zip(pool.prompts, candidates, chosen, strict=True)
        ]
        return pack(generation, pool.tokens, chosen), traces, generation.cost + Cost(scorer=read)
