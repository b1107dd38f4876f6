r"""Selection among given candidates, wherever they come from: sampled here, by a server, or a file.

No model that generates and no tokenizer is needed. ``BestOfN`` and ``SelfConsistency`` sample
candidates and leave the choice to the selectors of this file:

```python
from reason_decode import tiny
from reason_decode.strategies import BestOfNSelector

selector = BestOfNSelector(tiny.load().prm)
candidates = [selector.candidate(text) for text in ("10 - 4 = 6 (left: 5 6 6)", "4 + 5 = 10")]
(trace,), tokens_read = selector.select(["Make 36 from 4 5 6 10.\n"], [candidates])
print(trace.best.text)
```
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import get_args

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.answers import extract_answer
from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Candidate, Trace
from reason_decode.core.splitting import StepSplitter
from reason_decode.core.thinking import (
    THINK,
    ScorePart,
    ThinkingTags,
    answer_of,
    check_score_part,
    check_thinking_tags,
    part_of,
)
from reason_decode.core.voting import (
    VoteWeighting,
    check_vote_weighting,
    weighted_vote,
)
from reason_decode.generation.sampling import Branch
from reason_decode.scorers.base import (
    Scorer,
    Session,
    check_reduce,
    check_scorer_argument,
    default_reduce,
    reduce_scores,
)
from reason_decode.scorers.generated import score_branches
from reason_decode.strategies.vote_weighting import (
    candidate_weights,
    check_top,
    resolve_vote_weighting,
)

__all__ = ["BestOfNSelector", "Selector", "VoteSelector"]


@dataclass(frozen=True, eq=False)
class Selector(ABC):
    """Scores the candidates of each prompt and chooses among them.

    A subclass writes ``choose``.

    Args:
        scorer: scores the candidates; ``None``: they are not scored.
        reduce: how the scores of a candidate's steps become its total; ``None``: the default of the
            scorer's score space (see ``default_reduce``).
        strategy: the strategy's name in traces.
        thinking_tags: the texts before and after a thought.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought".
    """

    scorer: Scorer | None
    _: KW_ONLY
    reduce: Reduce | None = None
    strategy: str = "selection"
    thinking_tags: Sequence[str] = THINK
    score_part: ScorePart = "both"

    def __post_init__(self) -> None:
        if not isinstance(self.thinking_tags, ThinkingTags):
            check_thinking_tags(self.thinking_tags)
        if self.score_part != "both":
            check_score_part(self.score_part)
        if self.scorer is not None:
            check_scorer_argument("scorer", self.scorer)
            check_reduce(self.reduce, self.scorer)
        elif self.reduce not in (None, *get_args(Reduce)):
            raise ValueError(
                f"got reduce={self.reduce!r}; allowed are {', '.join(get_args(Reduce))} and None"
            )

    @property
    def splitter(self) -> StepSplitter:
        """Splits a candidate's text into steps: the scorer's splitter, else one step per line."""
        return StepSplitter() if self.scorer is None else self.scorer.splitter

    def candidate(
        self, text: str, *, finished: bool = True, tokens: int = 0, in_thought: bool = False
    ) -> Candidate:
        """A candidate, not yet scored.

        Args:
            text: a solution.
            finished: whether it ended by itself rather than by a limit of tokens.
            tokens: number of tokens sampled for it.
            in_thought: whether the prompt opened a thought, so that the text begins inside one.
        """
        steps = tuple(self.splitter.split(self._part(text, in_thought)))
        return Candidate(text, steps, finished=finished, tokens=tokens, in_thought=in_thought)

    def answer_text(self, candidate: Candidate) -> str:
        """The text of a candidate behind its thought; empty where that never closed."""
        return answer_of(candidate.text, self._tags, candidate.in_thought)

    def start_session(self, prompts: Sequence[str]) -> Session | None:
        """The scorer's session over the prompts; ``None`` without a scorer.

        Start it before sampling and pass it to ``select``: a prompt that the scorer cannot read is
        then refused before any sample is paid for.
        """
        return None if self.scorer is None else self.scorer.start_session(prompts)

    def reads_generation(self, model: object) -> bool:
        """True if ``score_generated`` scores what this model generates."""
        # The logits of a part alone are not kept: its text is read.
        whole = self.scorer if self.score_part == "both" else None
        return whole is not None and whole.reads_generation(model)

    def select(
        self,
        prompts: Sequence[str],
        candidates: Sequence[Sequence[Candidate]],
        *,
        count: int = 1,
        session: Session | None = None,
        scored: bool = False,
    ) -> tuple[list[Trace], int]:
        """Score the candidates of each prompt and choose ``count`` of them.

        Args:
            prompts: b prompts.
            candidates: at least one for each prompt.
            count: number of candidates to choose for each prompt.
            session: from ``start_session``; ``None``: one is started here.
            scored: whether the candidates have their scores already.

        Returns:
            One trace per prompt, and the number of tokens that the scorer read.
        """
        tokens_read = 0
        if not scored:
            candidates, tokens_read = self.score(prompts, candidates, session=session)
        traces = [
            self.choose(prompt, group, count)
            for prompt, group in zip(prompts, candidates, strict=True)
        ]
        return traces, tokens_read

    def score_generated(
        self,
        candidates: Sequence[Sequence[Candidate]],
        branches: Sequence[Sequence[Branch]],
        tokenizer: PreTrainedTokenizerBase,
    ) -> list[list[Candidate]]:
        """The candidates with ``scores`` and ``total`` by the logits that they were sampled from.

        Args:
            candidates: the candidates of each prompt.
            branches: the sampled tokens of each, with their statistics.
            tokenizer: the generator's tokenizer.
        """
        assert self.scorer is not None
        scored: list[list[Candidate]] = []
        for group, sampled in zip(candidates, branches, strict=True):
            steps = [c.steps for c in group]
            scores = score_branches(self.scorer, sampled, steps, tokenizer)
            totals = self._totals(self.scorer, scores)
            scored.append(
                [
                    replace(c, scores=tuple(x.tolist()), total=total)
                    for c, x, total in zip(group, scores, totals, strict=True)
                ]
            )
        return scored

    def score(
        self,
        prompts: Sequence[str],
        candidates: Sequence[Sequence[Candidate]],
        *,
        session: Session | None = None,
    ) -> tuple[list[list[Candidate]], int]:
        """The candidates with ``scores`` and ``total``; equal ones of a prompt are read once.

        Args:
            prompts: b prompts.
            candidates: the candidates of each prompt.
            session: from ``start_session``; ``None``: one is started here.

        Returns:
            The candidates, and the number of tokens that the scorer read.
        """
        if self.scorer is None:
            return [list(group) for group in candidates], 0
        session = session or self.scorer.start_session(prompts)
        # A solution without steps is not scored: it gets the lowest total of the score space.
        read = _steps_of if self.scorer.per_step else self._scored_text
        unique = [list(dict.fromkeys(read(c) for c in group if c.steps)) for group in candidates]
        scores = session.score(unique, keep_cache=False)
        scored: list[list[Candidate]] = []
        for group, keys, values in zip(candidates, unique, scores, strict=True):
            keys, values = [*keys, ()], [*values, torch.zeros(0)]
            totals = self._totals(self.scorer, values)
            by_key = {
                key: {"scores": tuple(x.tolist()), "total": total}
                for key, x, total in zip(keys, values, totals, strict=True)
            }
            scored.append([replace(c, **by_key[read(c) if c.steps else ()]) for c in group])
        return scored, session.tokens_read

    def _scored_text(self, candidate: Candidate) -> str:
        return self._part(candidate.text, candidate.in_thought)

    def _part(self, text: str, in_thought: bool) -> str:
        if self.score_part == "both":
            return text
        return part_of(text, self.score_part, self._tags, in_thought)

    @property
    def _tags(self) -> ThinkingTags:
        return ThinkingTags(*self.thinking_tags)

    def _totals(self, scorer: Scorer, scores: Sequence[Tensor]) -> list[float]:
        reduce = self.reduce or default_reduce(scorer)
        return reduce_scores(scores, reduce, scorer.score_space).tolist()

    @abstractmethod
    def choose(self, prompt: str, candidates: Sequence[Candidate], count: int = 1) -> Trace:
        """The trace of choosing among the scored candidates of one prompt.

        Args:
            prompt: the prompt.
            candidates: at least one, as ``score`` returns them.
            count: number of candidates to choose, the best first.
        """


def _steps_of(candidate: Candidate) -> tuple[str, ...]:
    return candidate.steps


@dataclass(frozen=True, eq=False)
class BestOfNSelector(Selector):
    r"""Chooses the candidates of greatest total: ``argmax_i reduce(scores_i)``.

    Of equal totals the first candidate wins. Where fewer candidates are given than are to be
    chosen, the best are repeated.

    Args:
        scorer: scores the candidates.
        reduce: how the scores of a candidate's steps become its total: "prod", "min", "last",
            "mean" or "sum"; ``None``: the default of the scorer's score space.
        strategy: the strategy's name in traces.
        finished_first: rank every candidate that did not finish below all that did.
        thinking_tags: the texts before and after a thought.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought".

    Raises:
        ValueError: ``reduce`` does not fit the scorer's score space, or the scorer is none.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.strategies import BestOfNSelector
        >>> selector = BestOfNSelector(tiny.load().prm)
        >>> texts = ["5 * 6 = 31 (left: 4 10 31)", "10 - 4 = 6 (left: 5 6 6)"]
        >>> candidates = [selector.candidate(text) for text in texts]
        >>> (trace,), tokens_read = selector.select(["Make 36 from 4 5 6 10.\n"], [candidates])
        >>> trace.best.text
        '10 - 4 = 6 (left: 5 6 6)'
    """

    _: KW_ONLY
    strategy: str = "BestOfN"
    finished_first: bool = False

    def choose(self, prompt: str, candidates: Sequence[Candidate], count: int = 1) -> Trace:
        """The trace of choosing the candidates of greatest total, the best first."""

        def sort_key(i: int) -> tuple[bool, float]:
            candidate = candidates[i]
            return self.finished_first and not candidate.finished, -(candidate.total or 0.0)

        order = sorted(range(len(candidates)), key=sort_key)
        chosen = tuple(order[k % len(order)] for k in range(count))
        return Trace(prompt, self.strategy, tuple(candidates), chosen)


@dataclass(frozen=True, eq=False)
class VoteSelector(Selector):
    r"""Chooses a candidate whose answer wins the vote: ``argmax_a sum_i w_i [answer_i = a]``.

    Of the winner's voters the one of greatest weight is chosen, the first of equal ones. Candidates
    without an answer do not vote.

    Args:
        scorer: its totals become the weights w_i; ``None``: every weight is 1.
        reduce: how the scores of a candidate's steps become its total s; ``None``: the default of
            the scorer's score space.
        strategy: the strategy's name in traces.
        vote_weighting: the weight, given s: "s", "1+s", "1+2s", "exp(s)", "sigmoid(s)", "borda"
            (by rank), or a formula of ``train vote-weights``; ``None``: what the scorer says, else
            "s" for probabilities and "exp(s)" for log-probabilities.
        extract_answer: returns the answer in a solution's text behind its thought; ``None`` if it
            has none.
        top: share of the candidates with an answer that vote, those of highest total.
        least: lowest total that votes; ``None``: any.
        thinking_tags: the texts before and after a thought.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought".

    Raises:
        ValueError: the scorer's scores can make no weights of at least 0, or an argument is not
            allowed.

    Source: Wang et al. 2023, 2203.11171; weighted votes: Li et al. 2023, 2206.02336.

    Examples:
        >>> from reason_decode.strategies import VoteSelector
        >>> selector = VoteSelector()
        >>> texts = ["So the answer is 3.", "So the answer is 4.", "1 + 2 is 3. The answer is 3."]
        >>> candidates = [selector.candidate(text) for text in texts]
        >>> (trace,), _ = selector.select(["1 + 2 =\n"], [candidates])
        >>> trace.best.answer, trace.votes
        ('3', {'3': 2.0, '4': 1.0})
    """

    scorer: Scorer | None = None
    _: KW_ONLY
    strategy: str = "SelfConsistency"
    vote_weighting: VoteWeighting | None = None
    extract_answer: Callable[[str], str | None] = extract_answer
    top: float = 1.0
    least: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top(self.top, self.scorer)
        check_vote_weighting(self.vote_weighting)
        if self.scorer is not None:
            resolve_vote_weighting(self.vote_weighting, self.scorer)
        if not callable(self.extract_answer):
            raise ValueError(
                f"got extract_answer={self.extract_answer!r:.80}; pass a function from a "
                "solution's text to its answer or None, such as reason_decode.extract_answer"
            )

    def choose(self, prompt: str, candidates: Sequence[Candidate], count: int = 1) -> Trace:
        """The trace of the vote; ``count`` is 1, since a vote has one winner."""
        if count != 1:
            raise ValueError(f"got count={count}; a vote has one winner: pass 1")
        voters = tuple(
            replace(c, answer=self.extract_answer(self.answer_text(c))) for c in candidates
        )
        weights = candidate_weights(voters, self.scorer, self.vote_weighting, self.top, self.least)
        vote = weighted_vote([c.answer for c in voters], weights)
        chosen = (vote.representative,)
        return Trace(prompt, self.strategy, voters, chosen, votes=vote.weights)
