"""Self-consistency: sample n solutions and let their answers vote."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.answers import extract_answer
from reason_decode.core.records import Candidate, Cost, Trace
from reason_decode.core.steps import StepSplitter
from reason_decode.core.voting import (
    EarlyStop,
    VoteWeighting,
    check_early_stop,
    check_vote_weighting,
    majority_vote,
    should_stop,
    vote_weights,
    weighted_vote,
)
from reason_decode.generation.batch import Branch
from reason_decode.generation.engine import Generation
from reason_decode.models.tokenization import decode
from reason_decode.scorers.base import Scorer, Session
from reason_decode.scorers.reduction import (
    Reduce,
    check_reduce,
    default_reduce,
    resolve_vote_weighting,
)
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
class SelfConsistency(Strategy):
    r"""Sample n solutions of each prompt and return one with the answer that wins the vote.

    ``argmax_a sum_i w_i [answer_i = a]`` with w_i = 1, or made of the scorer's reduced score s_i
    under ``scorer``. Of the winners the one of greatest weight is returned, the first of equals.
    Solutions without an answer do not vote.

    Args:
        tokenizer: the generator's.
        n: solutions a prompt.
        scorer: a scorer whose score weighs a solution's vote; ``None``: one vote each.
        answers: reads the answer of a solution's text; ``None`` if it has none.
        reduce: how step scores become one; ``None``: "prod" for probabilities, "mean" for
            log-probabilities, "last" for rewards.
        vote_weighting: how a score s becomes the weight of a vote: "s", "1+s", "1+2s", "exp(s)" or
            "sigmoid(s)"; ``None``: what the scorer says ("1+s" for rankers: adaptive
            self-consistency), else "s" for probabilities and "exp(s)" for log-probabilities.
        early_stop: ask for fewer than n where fewer do, an eighth of n at a time: ``"decided"``,
            until the rest could not change the winner of a plain vote; a probability such as 0.95,
            until it is so probable that they would not; ``None``: never.
        max_tokens: at most so many are sampled of a prompt, over all its solutions, an eighth of n
            at a time; what was sampled by then votes. ``None``: no cap.

    Raises:
        ValueError: an argument is not allowed; at the call, what cannot be done there.

    Source: Wang et al. 2023, 2203.11171; weighed by a verifier: Li et al. 2023, 2206.02336; by a
    ranker: Li et al. 2024, 2312.12832; stopped early: Aggarwal et al. 2023, 2305.11860.

    Example:
        >>> from reason_decode import SelfConsistency, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["((1 + 2) * (3 - 4)) =\n"], return_tensors="pt")
        >>> vote = SelfConsistency(tokenizer=t.tokenizer, n=5)
        >>> how = {"do_sample": True, "temperature": 0.5, "max_new_tokens": 200}
        >>> out = t.model.generate(
        ...     **inputs, **how, return_dict_in_generate=True, custom_generate=vote
        ... )
        >>> max(out.traces[0].votes, key=out.traces[0].votes.get) == out.traces[0].best.answer
        True
    """

    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 8
    scorer: Scorer | None = None
    answers: Callable[[str], str | None] = extract_answer
    reduce: Reduce | None = None
    vote_weighting: VoteWeighting | None = None
    early_stop: EarlyStop | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_parts(self, **({} if self.scorer is None else {"scorer": self.scorer}))
        check_positive(n=self.n)
        check_caps(max_tokens=self.max_tokens)
        check_vote_weighting(self.vote_weighting)
        if self.scorer is not None:
            check_reduce(self.reduce, self.scorer)
            resolve_vote_weighting(self.vote_weighting, self.scorer)
        if not callable(self.answers):
            raise ValueError(
                f"got answers={self.answers!r:.80}; pass a function from a solution's text to its "
                "answer or None, such as extract_answer"
            )
        check_early_stop(self.early_stop)
        check_budget(self.max_tokens, num_parallel(self.n))

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample, read the answers, vote."""
        check_count(generation, self.n, 1, "one winner a vote")
        splitter, session = StepSplitter(), None
        if self.scorer is not None:
            splitter = self.scorer.splitter
            session = self.scorer.start_session(prompt_texts(generation, self.tokenizer))
        enough = None if self.early_stop is None else self._enough()
        pool = sample_pool(generation, self.tokenizer, splitter, self.n, self.max_tokens, enough)
        traces, read = self.pick(pool, session)
        sequences = pack(generation, pool.tokens, [trace.chosen for trace in traces])
        return sequences, traces, generation.cost + Cost(scorer=read)

    def pick(self, pool: Pool, session: Session | None) -> tuple[list[Trace], int]:
        """Vote over candidates, wherever they are from.

        Args:
            pool: of each prompt at least one candidate.
            session: the weighing scorer's, opened over the pool's prompts; ``None`` without one.

        Returns:
            one trace a prompt, and how many tokens the scorer read.
        """
        candidates, read = pool.candidates, 0
        if session is not None and self.scorer is not None:
            reduce = self.reduce or default_reduce(self.scorer)
            candidates, read = score_pool(pool, session, reduce, self.scorer.score_space)
        traces: list[Trace] = []
        for prompt, group in zip(pool.prompts, candidates, strict=True):
            group = [replace(c, answer=self.answers(c.text)) for c in group]
            vote = weighted_vote([c.answer for c in group], self._weights(group))
            name = type(self).__name__
            traces.append(
                Trace(prompt, name, tuple(group), (vote.representative,), votes=vote.weights)
            )
        return traces, read

    def _weights(self, candidates: Sequence[Candidate]) -> list[float]:
        if self.scorer is None:
            return [1.0] * len(candidates)
        weighting = resolve_vote_weighting(self.vote_weighting, self.scorer)
        return vote_weights([c.total or 0.0 for c in candidates], weighting)

    def _enough(self) -> Callable[[int, Sequence[Branch]], bool]:
        """Tells of each prompt whether its vote may stop with what was just sampled."""
        answers: dict[int, list[str | None]] = defaultdict(list)

        def enough(prompt: int, fresh: Sequence[Branch]) -> bool:
            answers[prompt] += [self.answers(decode(self.tokenizer, x.tokens)) for x in fresh]
            votes = majority_vote(answers[prompt]).weights
            return should_stop([*votes.values()], self.n - len(answers[prompt]), self.early_stop)

        return enough
