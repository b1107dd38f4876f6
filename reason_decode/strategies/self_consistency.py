"""Self-consistency: sample n solutions and let their answers vote."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.answers import extract_answer
from reason_decode.host import Branch, Generation
from reason_decode.records import Cost, Trace
from reason_decode.scorers.base import Reduce, Scorer, check_reduce
from reason_decode.steps import StepSplitter, decode
from reason_decode.strategies.base import (
    Strategy,
    as_pool,
    check_count,
    check_positive,
    pack,
    sample_pool,
    score_pool,
)
from reason_decode.voting import Stop, check_stop, majority, should_stop, weighted


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
        stop: ask for fewer than n where fewer do, an eighth of n at a time: ``"decided"``, until
            the rest could not change the winner of a plain vote; a probability such as 0.95, until
            the leading answer is ahead of the second with so much certainty; ``None``: never.

    Raises:
        ValueError: n, reduce or stop is not allowed; at the call, what cannot be done there.

    Source: Wang et al. 2023, 2203.11171; weighed by a verifier: Li et al. 2023, 2206.02336; stopped
    early: Aggarwal et al. 2023, 2305.11860.
    """

    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 8
    weigh: Scorer | None = None
    answers: Callable[[str], str | None] = extract_answer
    reduce: Reduce = "prod"
    stop: Stop | None = None

    def __post_init__(self) -> None:
        check_positive(n=self.n)
        check_reduce(self.reduce)
        check_stop(self.stop)

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample, read the answers, vote."""
        check_count(generation, self.n, 1, "one winner a vote")
        splitter = StepSplitter() if self.weigh is None else self.weigh.splitter
        if self.stop is None:
            pool = sample_pool(generation, self.tokenizer, splitter, self.n)
        else:
            pool = as_pool(generation, self.tokenizer, splitter, self._rounds(generation))
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

    def _rounds(self, generation: Generation) -> list[list[Branch]]:
        """What was sampled of each prompt until its vote could stop."""
        prompts = generation.prefill()
        branches: list[list[Branch]] = [[] for _ in prompts.room]
        answers: list[list[str | None]] = [[] for _ in prompts.room]
        going, asked = list(range(len(branches))), 0
        while going and asked < self.n:
            count = min(max(1, self.n // 8), self.n - asked)
            asked += count
            flat = generation.sample(generation.copied(prompts, going), count)
            for k, p in enumerate(going):
                fresh = flat[k * count : (k + 1) * count]
                branches[p] += fresh
                answers[p] += [self.answers(decode(self.tokenizer, x.tokens)) for x in fresh]
            going = [p for p in going if not self._settled(answers[p])]
        return branches

    def _settled(self, answers: list[str | None]) -> bool:
        votes = majority(answers).weights
        return should_stop([*votes.values()], self.n - len(answers), self.stop)
