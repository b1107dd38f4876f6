from typing import Any

import pytest
from run_strategy import generate, total, traces
from transformers import LlamaModel

from reason_decode import RankingModel, ReasoningOutput, SelfConsistency, extract_answer
from reason_decode.core.solutions import Trace
from reason_decode.core.voting import majority_vote, vote_weights
from reason_decode.strategies import VoteSelector
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close

PROMPT = "((1 + 2) * (3 - 4)) =\n"


def _vote(tiny: Tiny, strategy: SelfConsistency) -> tuple[ReasoningOutput, Trace]:
    out = generate(tiny, strategy, [PROMPT], max_new_tokens=240)
    (trace,) = traces(out)
    return out, trace


def test_the_majority_wins_and_its_first_voter_is_returned(tiny: Tiny) -> None:
    out, trace = _vote(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=9))
    answers = [extract_answer(c.text) for c in trace.candidates]
    vote = majority_vote(answers)
    assert trace.votes == vote.weights
    assert trace.best.answer == vote.answer
    assert trace.chosen == (vote.voters[0],)
    text = tiny.tokenizer.decode(out.sequences[0], skip_special_tokens=True)
    assert text == PROMPT + trace.best.text


def test_weighted_votes_are_sums_of_scores(tiny: Tiny) -> None:
    _, trace = _vote(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=9, scorer=tiny.prm))
    scores = sum(total(c) for c in trace.candidates if c.answer is not None)
    assert_close(sum(trace.votes.values()), scores, terms=9)
    assert trace.best.answer is not None
    assert trace.votes[trace.best.answer] == max(trace.votes.values())


def test_without_any_answer_the_first_candidate_is_returned(tiny: Tiny) -> None:
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=3, extract_answer=lambda text: None)
    _, trace = _vote(tiny, strategy)
    assert trace.chosen == (0,)
    assert trace.votes == {}


@pytest.mark.slow
def test_a_decided_vote_has_the_winner_of_the_full_vote(tiny: Tiny) -> None:
    """The solutions not sampled are made to agree on another answer; the winner stays."""
    prompts = [
        "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =\n",
        "((1 - 2 + 3 - 4) + (5 - 6 * 1 - 1)) =\n",
    ]
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=8, early_stop="decided")
    out = generate(tiny, strategy, prompts, max_new_tokens=240, temperature=0.3)
    asked = [len(trace.candidates) for trace in traces(out)]
    assert min(asked) < 8
    for trace in traces(out):
        answers = [c.answer for c in trace.candidates]
        assert trace.best.answer == majority_vote(answers).answer
        others: list[str | None] = ["none of these"] * (8 - len(answers))
        assert majority_vote([*answers, *others]).answer == trace.best.answer


def test_votes_stopped_early_read_each_prompt_once(tiny: Tiny) -> None:
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=4, early_stop=0.9)
    out = generate(tiny, strategy, [PROMPT, "(1 + 2) =\n"], max_new_tokens=40)
    assert out.cost is not None
    words = tiny.tokenizer([PROMPT, "(1 + 2) =\n"])["input_ids"]
    assert out.cost.prefill == sum(map(len, words))
    sampled = sum(c.tokens for trace in traces(out) for c in trace.candidates)
    assert out.cost.sampled == sampled


@pytest.mark.parametrize("weighting", [None, "s", "1+s", "1+2s"])
def test_votes_weigh_by_the_given_formula(tiny: Tiny, weighting: Any) -> None:
    ranker = RankingModel(LlamaModel(tiny.model.config), tiny.tokenizer, chat=False)
    selector = VoteSelector(ranker, vote_weighting=weighting)
    texts = [f"{k} + 1 = {k + 1}\nThe answer is {k % 2}." for k in range(5)]
    (trace,), _ = selector.select([PROMPT], [[selector.candidate(text) for text in texts]])
    for answer, weight in trace.votes.items():
        scores = [c.scores[0] for c in trace.candidates if c.answer == answer]
        assert weight == pytest.approx(sum(vote_weights(scores, weighting or "1+s")))


def test_rejects_an_unknown_vote_weighting(tiny: Tiny) -> None:
    weighting: Any = "2s"
    with pytest.raises(ValueError, match="got vote_weighting='2s'; allowed are s, 1"):
        SelfConsistency(tokenizer=tiny.tokenizer, vote_weighting=weighting)
