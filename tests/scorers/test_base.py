"""The contract of scorers: a user's scorer in every strategy, and what becomes of its scores."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from reason_decode import BestOfN, Scorer, SelfConsistency, StepSearch
from reason_decode.core.options import Reduce
from reason_decode.core.voting import VoteWeighting
from reason_decode.scorers import ScoreSpace, Session, reduce_scores, to_steps
from reason_decode.scorers.base import check_finite, check_reduce, default_reduce
from reason_decode.tiny import Tiny

PROMPT = "((1 + 2) * (3 - 4)) =\n"
SPACES: list[ScoreSpace] = ["probability", "log_probability", "reward"]


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


class Fixed(Scorer):
    """A scorer of any space that scores nothing."""

    def __init__(self, score_space: ScoreSpace) -> None:
        self.score_space = score_space

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        raise AssertionError


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


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("prod", [0.25, 0.0]),
        ("min", [0.5, 0.0]),
        ("last", [0.5, 0.0]),
        ("mean", [0.5, 0.0]),
        ("sum", [1.0, 0.0]),
    ],
)
def test_reductions_and_the_empty_solution(reduce: Reduce, expected: list[float]) -> None:
    scores = [torch.tensor([0.5, 0.5]), torch.zeros(0)]
    assert reduce_scores(scores, reduce).tolist() == expected


def test_no_solutions_reduce_to_no_numbers() -> None:
    assert reduce_scores([]).tolist() == []


def test_unknown_reductions_are_refused() -> None:
    reduce: Any = "max"
    with pytest.raises(ValueError, match="got reduce='max'; allowed are prod, min, last, mean, su"):
        reduce_scores([torch.ones(1)], reduce)


@pytest.mark.parametrize("space", SPACES)
def test_the_default_reduction_prefers_the_better_steps(space: ScoreSpace) -> None:
    """The product of two log-probabilities is greater, the less probable both are."""
    good, bad = {
        "probability": (0.9, 0.1),
        "log_probability": (-0.1, -9.0),
        "reward": (1.0, -9.0),
    }[space]
    reduce = default_reduce(Fixed(space))
    scores = [torch.tensor([good, good]), torch.tensor([bad, bad]), torch.zeros(0)]
    first, second, empty = reduce_scores(scores, reduce, space).tolist()
    assert first > second > empty


@pytest.mark.parametrize("space", ["log_probability", "reward"])
def test_only_probabilities_are_multiplied(space: ScoreSpace) -> None:
    check_reduce("prod", Fixed("probability"))
    check_reduce(None, Fixed(space))
    with pytest.raises(ValueError, match=r"got reduce='prod' for .* of Fixed.*'mean', 'min'"):
        check_reduce("prod", Fixed(space))
    with pytest.raises(ValueError, match="got reduce='prod'"):
        reduce_scores([torch.ones(1)], "prod", space)


def test_infinite_scores_are_named() -> None:
    with pytest.raises(ValueError, match="got score inf for step 1 of b"):
        check_finite([torch.ones(1), torch.tensor([0.0, float("inf")])], ["a", "b"])
