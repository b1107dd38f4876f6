"""Self-consistency: sample n solutions and let their answers vote."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.answers import extract_answer
from reason_decode.host import Generation
from reason_decode.records import Cost, Trace
from reason_decode.scorers.base import Reduce, Scorer, check_reduce
from reason_decode.steps import StepSplitter
from reason_decode.strategies.base import (
    Strategy,
    check_count,
    check_positive,
    pack,
    sample_pool,
    score_pool,
)
from reason_decode.voting import weighted


@dataclass(frozen=True, eq=False)
class SelfConsistency(Strategy):
    """Sample n solutions of each prompt and return one with the answer that wins the vote.

    ``argmax_a sum_i w_i [answer_i = a]`` with w_i = 1, or the scorer's reduced score under
    ``weigh``. Of the winners the one of greatest weight is returned, the first of equals. Solutions
    without an answer do not vote.

    Args:
        tokenizer: the generator's.
        n: solutions a prompt.
        weigh: a scorer whose score (at least 0) is a solution's weight; ``None`` for one vote each.
        answers: reads the answer of a solution's text; ``None`` if it has none.
        reduce: how step scores become one weight.

    Raises:
        ValueError: n or reduce is not allowed; at the call, what cannot be done there.

    Source: Wang et al. 2023, 2203.11171; weighed by a verifier: Li et al. 2023, 2206.02336.
    """

    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 8
    weigh: Scorer | None = None
    answers: Callable[[str], str | None] = extract_answer
    reduce: Reduce = "prod"

    def __post_init__(self) -> None:
        check_positive(n=self.n)
        check_reduce(self.reduce)

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample, read the answers, vote."""
        check_count(generation, self.n, 1, "one winner a vote")
        splitter = StepSplitter() if self.weigh is None else self.weigh.splitter
        pool = sample_pool(generation, self.tokenizer, splitter, self.n)
        candidates, read = pool.candidates, 0
        if self.weigh is not None:
            candidates, read = score_pool(pool, self.weigh, self.reduce)
        traces: list[Trace] = []
        for prompt, group in zip(pool.prompts, candidates, strict=True):
            group = [replace(c, answer=self.answers(c.text)) for c in group]
            weights = [1.0 if c.total is None else c.total for c in group]
            vote = weighted([c.answer for c in group], weights)
            name = type(self).__name__
            traces.append(
                Trace(prompt, name, tuple(group), (vote.representative,), votes=vote.weights)
            )
        sequences = pack(generation, pool.tokens, [trace.chosen for trace in traces])
        return sequences, traces, generation.cost + Cost(scorer=read)
