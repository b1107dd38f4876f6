"""A user's scorer, written to the documented contract, in every strategy."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from reason_decode import BestOfN, Scorer, SelfConsistency, StepSearch
from reason_decode.core.voting import VoteWeighting
from reason_decode.scorers import ScoreSpace, Session, to_steps
from reason_decode.tiny import Tiny

PROMPT = "((1 + 2) * (3 - 4)) =\n"


class Shortness(Scorer):
    """Prefers short steps; only ``score`` and ``score_space`` are written."""

    score_space: ScoreSpace = "log_probability"

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        steps = to_steps(solutions, self.splitter)
        return [torch.tensor([-float(len(step)) for step in listed]) for listed in steps]


class WholeReward(Scorer):
    """One reward a solution, of any sign."""

    score_space: ScoreSpace = "reward"

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        steps = to_steps(solutions, self.splitter)
        return [torch.tensor([3.0 - len(x)]) if x else torch.zeros(0) for x in steps]


def generate(tiny: Tiny, strategy: Any) -> Any:
    torch.manual_seed(0)
    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    how: dict[str, Any] = {"do_sample": True, "temperature": 1.5, "max_new_tokens": 120}
    (trace,) = tiny.model.generate(
        **inputs, **how, return_dict_in_generate=True, custom_generate=strategy
    ).traces
    return trace


def test_best_of_n_returns_the_best_by_log_probability(tiny: Tiny) -> None:
    """With a product of log-probabilities, which was the default, it returned the worst."""
    trace = generate(tiny, BestOfN(Shortness(), tokenizer=tiny.tokenizer, n=8))
    means = [sum(c.scores) / len(c.scores) for c in trace.candidates]
    assert len(set(means)) > 1
    assert trace.best.total == pytest.approx(max(means))


def test_best_of_n_returns_the_best_by_reward(tiny: Tiny) -> None:
    trace = generate(tiny, BestOfN(WholeReward(), tokenizer=tiny.tokenizer, n=8))
    assert trace.best.scores[0] == max(c.scores[0] for c in trace.candidates)
    assert min(c.scores[0] for c in trace.candidates) < 0


def test_multiplying_log_probabilities_is_refused_before_any_work(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="got reduce='prod' for log-probabilities of Shortness"):
        BestOfN(Shortness(), tokenizer=tiny.tokenizer, reduce="prod")
    with pytest.raises(ValueError, match="got reduce='prod' for rewards of WholeReward"):
        StepSearch(WholeReward(), tokenizer=tiny.tokenizer, reduce="prod")


def test_votes_are_weighed_by_probabilities_of_log_probabilities(tiny: Tiny) -> None:
    trace = generate(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=8, scorer=Shortness()))
    heaviest = max(trace.candidates, key=lambda c: c.total)
    assert all(weight >= 0 for weight in trace.votes.values())
    assert trace.best.total == heaviest.total


def test_rewards_weigh_votes_only_as_the_caller_says(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="got rewards of WholeReward to weigh votes"):
        SelfConsistency(tokenizer=tiny.tokenizer, scorer=WholeReward())
    weighting: VoteWeighting = "sigmoid(s)"
    vote = SelfConsistency(
        tokenizer=tiny.tokenizer, n=8, scorer=WholeReward(), vote_weighting=weighting
    )
    assert all(0 < weight < 8 for weight in generate(tiny, vote).votes.values())


@pytest.mark.parametrize("scorer", [Shortness(), WholeReward()])
def test_step_search_needs_nothing_but_score(tiny: Tiny, scorer: Scorer) -> None:
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=3, beam_width=2, max_steps=3)
    trace = generate(tiny, search)
    assert 1 <= len(trace.rounds) <= 3
    assert trace.best.total == trace.best.scores[-1]


def test_the_default_session_branches_and_drops_trajectories() -> None:
    session = Shortness().start_session(["p", "q"])
    session.score([[["aa"], ["b"]], [["cccc"]]])
    session.select([(1, 0), (0, 0), (0, 0)])
    assert session.prompts == ["q", "p", "p"]
    scores = session.score([[["d", "ee"]], [], [[], ["fff"]]])
    assert [[x.tolist() for x in group] for group in scores] == [[[-1.0, -2.0]], [], [[], [-3.0]]]
    assert session.before_round() == session.context_to_append() == [None] * 3


def test_a_wrong_number_of_scores_is_named() -> None:
    class Two(Shortness):
        def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
            return [torch.zeros(2) for _ in solutions]

    with pytest.raises(ValueError, match="got 2 scores for 3 steps from Two; score"):
        Two().start_session(["p"]).score([[["a", "b", "c"]]])


def test_a_class_without_the_contract_is_refused(tiny: Tiny) -> None:
    class NoSpace(Scorer):
        def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
            return []

    class Duck:
        splitter = Shortness.splitter

        def start_session(self, prompts: Sequence[str]) -> Session:
            raise AssertionError

    with pytest.raises(ValueError, match=r"score_space=None; allowed are 'probability', 'log_p"):
        BestOfN(NoSpace(), tokenizer=tiny.tokenizer)
    duck: Any = Duck()
    with pytest.raises(ValueError, match=re.escape("inherits from reason_decode.Scorer")):
        BestOfN(duck, tokenizer=tiny.tokenizer)


def test_a_scorer_without_settings_cannot_be_saved() -> None:
    with pytest.raises(ValueError, match="got a Shortness, which cannot be saved"):
        Shortness().settings()
