"""Selection among given candidates: no model that generates, no tokenizer."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from run_strategy import generate, traces

from reason_decode import BestOfN, SelfConsistency
from reason_decode.core.solutions import Candidate
from reason_decode.core.splitting import StepSplitter
from reason_decode.scorers import ScoreSpace
from reason_decode.strategies import BestOfNSelector, VoteSelector
from reason_decode.strategies.vote_weighting import resolve_vote_weighting
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


def by_length() -> TableScorer:
    """1 / length: shorter steps score higher."""
    return TableScorer(lambda step: 1 / len(step))


def of_space(space: ScoreSpace) -> TableScorer:
    scorer = by_length()
    scorer.score_space = space
    return scorer


@pytest.mark.parametrize("name", ["best of n", "vote", "plain vote"])
def test_given_candidates_are_chosen_as_sampled_ones(tiny: Tiny, name: str) -> None:
    """A strategy's samples, given back as texts, has the same scores and the same choice."""
    tokenizer = tiny.tokenizer
    strategy: Any
    if name == "best of n":
        strategy, selector = BestOfN(tiny.prm, tokenizer=tokenizer, n=5), BestOfNSelector(tiny.prm)
    else:
        scorer = tiny.prm if name == "vote" else None
        strategy = SelfConsistency(tokenizer=tokenizer, n=5, scorer=scorer)
        selector = VoteSelector(scorer)
    sampled = traces(generate(tiny, strategy, PROMPTS))
    given = [
        [selector.candidate(c.text, finished=c.finished, tokens=c.tokens) for c in trace.candidates]
        for trace in sampled
    ]
    chosen, tokens_read = selector.select([trace.prompt for trace in sampled], given)
    assert (tokens_read > 0) == (name != "plain vote")
    for ours, theirs in zip(chosen, sampled, strict=True):
        assert (ours.prompt, ours.strategy, ours.chosen) == (
            theirs.prompt,
            theirs.strategy,
            theirs.chosen,
        )
        assert [c.steps for c in ours.candidates] == [c.steps for c in theirs.candidates]
        for a, b in zip(ours.candidates, theirs.candidates, strict=True):
            torch.testing.assert_close(torch.tensor(a.scores), torch.tensor(b.scores))


def test_equal_candidates_of_a_prompt_are_scored_once() -> None:
    scorer = by_length()
    selector = BestOfNSelector(scorer)
    texts = ["ab", "abc", "ab", "ab\n"]
    (scored,), _ = selector.score(["p"], [[selector.candidate(text) for text in texts]])
    assert [list(steps) for _, steps in scorer.asked] == [["ab"], ["abc"]]
    assert [c.total for c in scored] == pytest.approx([1 / 2, 1 / 3, 1 / 2, 1 / 2])


def test_the_best_are_repeated_where_too_few_are_given() -> None:
    selector = BestOfNSelector(by_length())
    candidates = [selector.candidate(text) for text in ("abc", "ab")]
    (trace,), _ = selector.select(["p"], [candidates], count=5)
    assert trace.chosen == (1, 0, 1, 0, 1)


def test_unfinished_candidates_rank_last_where_that_is_asked_for() -> None:
    for finished_first, expected in ((False, 1), (True, 0)):
        selector = BestOfNSelector(by_length(), finished_first=finished_first)
        candidates = [selector.candidate("abc"), selector.candidate("ab", finished=False)]
        (trace,), _ = selector.select(["p"], [candidates])
        assert trace.chosen == (expected,)


def test_candidates_are_split_by_the_scorers_splitter() -> None:
    scorer = by_length()
    scorer.splitter = StepSplitter("; ")
    assert BestOfNSelector(scorer).candidate("a; b") == Candidate("a; b", ("a", "b"))
    assert VoteSelector().candidate("a\nb").steps == ("a", "b")


def test_a_session_that_was_started_before_is_used() -> None:
    selector = BestOfNSelector(by_length())
    session = selector.start_session(["p", "q"])
    candidates = [[selector.candidate("ab")], [selector.candidate("c"), selector.candidate("de")]]
    chosen, _ = selector.select(["p", "q"], candidates, session=session)
    assert [trace.best.text for trace in chosen] == ["ab", "c"]
    assert VoteSelector().start_session(["p"]) is None


def test_rejects_invalid_arguments() -> None:
    scorer: Any = "Qwen/x"
    with pytest.raises(ValueError, match="got scorer='Qwen/x'; pass a loaded"):
        BestOfNSelector(scorer)
    answers: Any = "x"
    with pytest.raises(ValueError, match="got extract_answer='x'; pass a function"):
        VoteSelector(extract_answer=answers)
    with pytest.raises(ValueError, match="got count=2; a vote has one winner"):
        VoteSelector().choose("p", [Candidate("a", ("a",))], count=2)


def test_a_vote_weighs_a_probability_whatever_the_space_is() -> None:
    assert resolve_vote_weighting(None, of_space("probability")) == "s"
    assert resolve_vote_weighting(None, of_space("log_probability")) == "exp(s)"
    assert resolve_vote_weighting("sigmoid(s)", of_space("reward")) == "sigmoid(s)"
    ranker = of_space("probability")
    ranker.vote_weighting = "1+s"
    assert resolve_vote_weighting(None, ranker) == "1+s"
    assert resolve_vote_weighting("s", ranker) == "s"


def test_ranks_weigh_votes_and_a_share_of_them_may_be_left_out() -> None:
    scorer = TableScorer(lambda step: -float(step.split()[-1]))
    scorer.score_space = "reward"
    selector = VoteSelector(scorer, vote_weighting="borda", extract_answer=lambda x: x.split()[0])
    texts = ["a 1", "b 2", "b 3", "a 4", "c 5"]
    (trace,), _ = selector.select(["p"], [[selector.candidate(text) for text in texts]])
    assert trace.votes == {"a": 7, "b": 7, "c": 1}
    assert trace.agreement == 7 / 15
    half = replace(selector, top=0.4)
    (trace,), _ = half.select(["p"], [[half.candidate(text) for text in texts]])
    assert trace.votes == {"a": 5, "b": 4, "c": 0} and trace.best.text == "a 1"


def test_a_share_of_the_votes_needs_scores() -> None:
    with pytest.raises(ValueError, match="got top=0.5 without a scorer"):
        VoteSelector(top=0.5)
    with pytest.raises(ValueError, match="got top=0; need a share"):
        VoteSelector(of_space("probability"), top=0)


def test_votes_are_not_weighed_by_what_may_be_negative() -> None:
    with pytest.raises(
        ValueError, match=r"got rewards of TableScorer .* pass vote_weighting='borda', 'sigmoid"
    ):
        resolve_vote_weighting(None, of_space("reward"))
    with pytest.raises(ValueError, match="log-probabilities of TableScorer, which are negative"):
        resolve_vote_weighting("1+s", of_space("log_probability"))
