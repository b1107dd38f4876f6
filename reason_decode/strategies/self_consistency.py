"""Self-consistency: sample n solutions and let their answers vote."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace

from torch import LongTensor

from reason_decode.core.answers import extract_answer
from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Cost, Trace
from reason_decode.core.thinking import ScorePart, answer_of
from reason_decode.core.voting import (
    EarlyStop,
    VoteWeighting,
    check_early_stop,
    majority_vote,
    should_stop,
)
from reason_decode.generation.interface import Generation
from reason_decode.scorers.base import Scorer
from reason_decode.strategies.arguments import check_max_tokens, check_positive
from reason_decode.strategies.base import (
    SolutionReader,
    Strategy,
    check_num_sequences,
    chosen_sequences,
    sample_at_once,
)
from reason_decode.strategies.sampling import IsEnough, num_parallel, sample_in_turns
from reason_decode.strategies.selection import VoteSelector
from reason_decode.strategies.warmup import WarmUp, sample_after_warm_up

_NO_LOGITS = (
    "got warm_up without a scorer that reads the generator's logits of whole solutions; pass "
    "scorer=ConfidenceScorer('group', window=256), and score_part='both'"
)


@dataclass(frozen=True, eq=False)
class SelfConsistency(Strategy):
    r"""Sample n solutions of each prompt and return one with the answer that wins the vote.

    ``argmax_a sum_i w_i [answer_i = a]`` with w_i = 1, or with weights made of the scorer's totals.
    Of the winner's voters the one of greatest weight is returned, the first of equal ones.
    Solutions without an answer do not vote.

    Args:
        tokenizer: the generator's tokenizer.
        streamer: receives the answer's tokens at the end, for one prompt.
        n: solutions per prompt.
        scorer: weights each solution's vote by its score; ``None``: every vote counts 1.
        extract_answer: returns the answer in a solution's text behind its thought; ``None`` if it
            has none.
        reduce: how the scores of a solution's steps become one number s; ``None``: "prod" for
            probabilities, "mean" for log-probabilities, "last" for rewards.
        vote_weighting: the weight, given s: "s", "1+s", "1+2s", "exp(s)", "sigmoid(s)", "borda"
            (by rank), or a formula of ``train vote-weights``; ``None``: what the scorer says ("1+s"
            for rankers: adaptive self-consistency), else "s" for probabilities and "exp(s)" for
            log-probabilities.
        top: share of the solutions with an answer that vote, those of highest total.
        warm_up: solutions that are sampled whole before the others. Of the others one that falls
            below the least total of the warm-up's ``top`` share is cut off, and votes no more than
            the rest of the warm-up does. Needs a scorer that reads the logits of the generator,
            such as ``ConfidenceScorer("group", window=256)``. ``None``: all are sampled whole.
        check_every: tokens between two checks of a solution after the warm-up; the groups of a
            confidence should not be longer.
        early_stop: sample fewer than n where fewer are enough, an eighth of n at a time:
            ``"decided"``: until the rest could not change the winner of an unweighted vote; a
            probability such as 0.95: until the leader wins with that probability; ``None``: never.
        max_tokens: maximum number of tokens sampled per prompt, over all its solutions, which are
            sampled an eighth of n at a time; the solutions sampled by then vote. ``None``: no
            limit.
        score_part: the part of a solution that the scorer reads: "both", the text as it was
            generated; "answer", what follows the thought; "thought".

    Raises:
        ValueError: an argument is not allowed, such as a scorer whose scores cannot be weights;
            when called: ``generate`` is asked for something that the strategy cannot do.

    Source: Wang et al. 2023, 2203.11171; weighted by a verifier: Li et al. 2023, 2206.02336;
    weighted by a ranker: Li et al. 2024, 2312.12832; stopped early: Aggarwal et al. 2023,
    2305.11860; the warm-up: Fu et al. 2025, 2508.15260, algorithm 2 (DeepConf, online), where
    ``top`` is 0.1 (low) or 0.9 (high).

    Examples:
        >>> from reason_decode import SelfConsistency, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["((1 + 2) * (3 - 4)) =\n"], return_tensors="pt")
        >>> vote = SelfConsistency(tokenizer=t.tokenizer, n=5)
        >>> sampling = {"do_sample": True, "temperature": 0.5, "max_new_tokens": 200}
        >>> out = t.model.generate(
        ...     **inputs, **sampling, return_dict_in_generate=True, custom_generate=vote
        ... )
        >>> max(out.traces[0].votes, key=out.traces[0].votes.get) == out.traces[0].best.answer
        True
    """

    _: KW_ONLY
    n: int = 8
    scorer: Scorer | None = None
    extract_answer: Callable[[str], str | None] = extract_answer
    reduce: Reduce | None = None
    vote_weighting: VoteWeighting | None = None
    top: float = 1.0
    warm_up: int | None = None
    check_every: int = 256
    early_stop: EarlyStop | None = None
    max_tokens: int | None = None
    score_part: ScorePart = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(n=self.n)
        check_early_stop(self.early_stop)
        check_max_tokens(self.max_tokens, num_parallel(self.n))
        check_positive(check_every=self.check_every)
        self._selector()
        if self.warm_up is not None:
            self._check_warm_up(self.warm_up)

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample n solutions of each prompt, extract their answers, and vote."""
        check_num_sequences(generation, self.n, 1, "one winner a vote")
        selector = self._selector()
        generation.keep_stats = selector.reads_generation(generation.model)
        session = None if generation.keep_stats else selector.start_session(prompts)
        reader = self.reader(generation, prompts)
        is_enough = None if self.early_stop is None else self._is_enough(reader)
        floors: list[float] | None = None
        if self.warm_up is not None:
            if not generation.keep_stats:
                raise ValueError(_NO_LOGITS)
            settings = WarmUp(self.n, self.warm_up, self.top, self.check_every)
            branches, floors = sample_after_warm_up(
                generation, reader, selector, self.tokenizer, settings, is_enough
            )
        elif self.max_tokens is None and is_enough is None:
            branches = sample_at_once(generation, self.n)
        else:
            branches = sample_in_turns(generation, reader, self.n, self.max_tokens, is_enough)
        tokens, candidates = reader.candidates(branches, selector.candidate)
        if generation.keep_stats:
            candidates = selector.score_generated(candidates, branches, self.tokenizer)
        if floors is None:
            traces, tokens_read = selector.select(
                prompts, candidates, session=session, scored=generation.keep_stats
            )
        else:
            votes = (replace(selector, top=1.0, least=floor) for floor in floors)
            grouped = zip(votes, prompts, candidates, strict=True)
            traces, tokens_read = [vote.choose(p, group) for vote, p, group in grouped], 0
        sequences = chosen_sequences(generation, tokens, traces)
        return sequences, traces, generation.cost + Cost(scorer=tokens_read)

    def _check_warm_up(self, warm_up: int) -> None:
        check_positive(warm_up=warm_up)
        if self.scorer is None or self.score_part != "both":
            raise ValueError(_NO_LOGITS)
        if warm_up > self.n or self.max_tokens is not None:
            raise ValueError(
                f"got warm_up={warm_up}, n={self.n}, max_tokens={self.max_tokens}; the warm-up's "
                "solutions are among the n, and the floor limits tokens: pass no max_tokens"
            )

    def _selector(self) -> VoteSelector:
        return VoteSelector(
            self.scorer,
            reduce=self.reduce,
            thinking_tags=self.tags,
            score_part=self.score_part,
            strategy=type(self).__name__,
            vote_weighting=self.vote_weighting,
            top=self.top,
            extract_answer=self.extract_answer,
        )

    def _is_enough(self, reader: SolutionReader) -> IsEnough:
        """The early stop of one call: it counts the votes of each prompt as they come."""
        answers: dict[int, list[str | None]] = defaultdict(list)

        def is_enough(prompt: int, texts: Sequence[str]) -> bool:
            answers[prompt] += [
                self.extract_answer(answer_of(x, reader.tags, reader.in_thought[prompt]))
                for x in texts
            ]
            votes = majority_vote(answers[prompt]).weights
            remaining = self.n - len(answers[prompt])
            return should_stop([*votes.values()], remaining, self.early_stop)

        return is_enough
