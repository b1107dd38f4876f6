"""Best-of-N: sample n solutions, score each, return the best."""

from dataclasses import KW_ONLY, dataclass

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.records import Cost, Trace
from reason_decode.generation.engine import Generation
from reason_decode.scorers.base import Scorer, Session
from reason_decode.scorers.reduction import Reduce, check_reduce, default_reduce
from reason_decode.strategies.base import (
    Pool,
    Strategy,
    check_caps,
    check_count,
    check_parts,
    check_positive,
    num_parallel,
    pack,
    prompt_texts,
    sample_pool,
    score_pool,
)
from reason_decode.strategies.budget import check_budget


@dataclass(frozen=True, eq=False)
class BestOfN(Strategy):
    r"""Sample n solutions of each prompt and return the one that scores best.

    ``argmax_i reduce(scorer(prompt, solution_i))``; of equal scores the one sampled first wins.
    ``num_return_sequences=k`` returns the k best, best first. A solution cut off by
    ``max_new_tokens`` is scored as it stands. With n=1 the tokens are those of plain ``generate``.

    Args:
        scorer: judges the solutions.
        tokenizer: the generator's.
        n: solutions a prompt.
        reduce: how step scores become one number: "prod", "min", "last", "mean" or "sum"; ``None``:
            "prod" for probabilities, "mean" for log-probabilities, "last" for rewards.
        max_tokens: at most so many are sampled of a prompt, over all its solutions, an eighth of n
            at a time; what was sampled by then is compared, and what did not finish comes behind
            all that did. ``None``: no cap.

    Raises:
        ValueError: an argument is not allowed; at the call, what cannot be done there.

    Source: Let's Verify Step by Step (Lightman et al. 2023, 2305.20050), sections 2.2 and 2.6.

    Example:
        >>> from reason_decode import BestOfN, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> best = BestOfN(t.verifier, tokenizer=t.tokenizer, n=4)
        >>> how = {"do_sample": True, "max_new_tokens": 80, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **how, custom_generate=best)
        >>> out.traces[0].best.total == max(c.total for c in out.traces[0].candidates)
        True
    """

    scorer: Scorer
    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 8
    reduce: Reduce | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_parts(self, scorer=self.scorer)
        check_positive(n=self.n)
        check_caps(max_tokens=self.max_tokens)
        check_reduce(self.reduce, self.scorer)
        check_budget(self.max_tokens, num_parallel(self.n))

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample, score, choose."""
        check_count(generation, self.n, self.n, "n candidates")
        session = self.scorer.start_session(prompt_texts(generation, self.tokenizer))
        pool = sample_pool(
            generation, self.tokenizer, self.scorer.splitter, self.n, self.max_tokens
        )
        traces, read = self.pick(pool, session, generation.num_return_sequences)
        sequences = pack(generation, pool.tokens, [trace.chosen for trace in traces])
        return sequences, traces, generation.cost + Cost(scorer=read)

    def pick(self, pool: Pool, session: Session, count: int = 1) -> tuple[list[Trace], int]:
        """Score candidates, wherever they are from, and choose.

        Args:
            pool: of each prompt at least one candidate.
            session: the scorer's, opened over the pool's prompts.
            count: how many are chosen of each prompt.

        Returns:
            one trace a prompt, and how many tokens the scorer read.
        """
        reduce = self.reduce or default_reduce(self.scorer)
        candidates, read = score_pool(pool, session, reduce, self.scorer.score_space)
        traces: list[Trace] = []
        capped = self.max_tokens is not None
        for prompt, group in zip(pool.prompts, candidates, strict=True):
            ranks = [(capped and not c.finished, -(c.total or 0.0)) for c in group]
            order = sorted(range(len(group)), key=ranks.__getitem__)
            # Where a budget left fewer than are to be returned, the best are repeated.
            picks = tuple(order[k % len(order)] for k in range(count))
            traces.append(Trace(prompt, type(self).__name__, tuple(group), picks))
        return traces, read
