"""Best-of-N: sample n solutions, score each, return the best."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from torch import LongTensor

from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Cost, Trace
from reason_decode.core.thinking import ScorePart
from reason_decode.generation.interface import Generation
from reason_decode.scorers.base import Scorer
from reason_decode.strategies.arguments import check_max_tokens, check_positive
from reason_decode.strategies.base import (
    Strategy,
    check_num_sequences,
    chosen_sequences,
    sample_at_once,
)
from reason_decode.strategies.rejection import check_rejection, sample_with_rejection
from reason_decode.strategies.sampling import num_parallel, sample_in_turns
from reason_decode.strategies.selection import BestOfNSelector


@dataclass(frozen=True, eq=False)
class BestOfN(Strategy):
    r"""Sample n solutions of each prompt and return the one that scores best.

    ``argmax_i reduce(scorer(prompt, solution_i))``; of equal scores the one sampled first wins.
    ``num_return_sequences=k`` returns the k best, best first. A solution cut off by
    ``max_new_tokens`` is scored as it stands. With n=1 the tokens are those of plain ``generate``.

    Args:
        scorer: scores the solutions.
        tokenizer: the generator's tokenizer.
        streamer: receives the answer's tokens at the end, for one prompt.
        n: solutions per prompt.
        reduce: how the scores of a solution's steps become one number: "prod", "min", "last",
            "mean" or "sum"; ``None``: "prod" for probabilities, "mean" for log-probabilities,
            "last" for rewards.
        max_tokens: maximum number of tokens sampled per prompt, over all its solutions, which are
            sampled an eighth of n at a time; a solution that did not finish ranks below all that
            did. ``None``: no limit.
        score_part: the part of a solution that the scorer reads: "both", the text as it was
            generated; "answer", what follows the thought; "thought".
        reject: share of the unfinished solutions, those of lowest score so far, that are given up
            on the way, so that no more tokens are spent on them; the last one never is. The trace's
            rounds show them, and its candidates are the others. ``None``: all are sampled whole.
        reject_every: steps of the scorer between two rejections.

    Raises:
        ValueError: an argument is not allowed; when called: ``generate`` is asked for something
            that the strategy cannot do.

    Source: Let's Verify Step by Step (Lightman et al. 2023, 2305.20050), sections 2.2 and 2.6;
    rejection: Sun et al. 2024, 2410.20290, algorithm 1 (speculative rejection), there whenever
    memory is full.

    Examples:
        >>> from reason_decode import BestOfN, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> best = BestOfN(t.verifier, tokenizer=t.tokenizer, n=4)
        >>> sampling = {"do_sample": True, "max_new_tokens": 80, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **sampling, custom_generate=best)
        >>> out.traces[0].best.total == max(c.total for c in out.traces[0].candidates)
        True
    """

    scorer: Scorer
    _: KW_ONLY
    n: int = 8
    reduce: Reduce | None = None
    max_tokens: int | None = None
    score_part: ScorePart = "both"
    reject: float | None = None
    reject_every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(n=self.n, reject_every=self.reject_every)
        check_rejection(self.reject, self.score_part)
        check_max_tokens(self.max_tokens, num_parallel(self.n))
        self._selector()

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample n solutions of each prompt, score them, and return the best."""
        check_num_sequences(generation, self.n, self.n, "n candidates")
        if self.reject is not None:
            return sample_with_rejection(self, generation, prompts)
        selector = self._selector()
        generation.keep_stats = selector.reads_generation(generation.model)
        session = None if generation.keep_stats else selector.start_session(prompts)
        reader = self.reader(generation, prompts)
        if self.max_tokens is None:
            branches = sample_at_once(generation, self.n)
        else:
            branches = sample_in_turns(generation, reader, self.n, self.max_tokens)
        tokens, candidates = reader.candidates(branches, selector.candidate)
        if generation.keep_stats:
            candidates = selector.score_generated(candidates, branches, self.tokenizer)
        traces, tokens_read = selector.select(
            prompts,
            candidates,
            count=generation.num_return_sequences,
            session=session,
            scored=generation.keep_stats,
        )
        sequences = chosen_sequences(generation, tokens, traces)
        return sequences, traces, generation.cost + Cost(scorer=tokens_read)

    def _selector(self) -> BestOfNSelector:
        return BestOfNSelector(
            self.scorer,
            reduce=self.reduce,
            thinking_tags=self.tags,
            score_part=self.score_part,
            strategy=type(self).__name__,
            # A token limit cuts some solutions off; a cut one may score well for what it left out.
            finished_first=self.max_tokens is not None,
        )
