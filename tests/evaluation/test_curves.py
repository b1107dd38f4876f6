import doctest
import importlib
import itertools
import math
import random
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import pytest

from reason_decode.core.voting import weighted_vote
from reason_decode.evaluation.curves import (
    SamplePool,
    accuracy_curves,
    answer_ids,
    best_of_n_curve,
    pass_curve,
    vote_curve,
)
from reason_decode.evaluation.metrics import bootstrap, paired_bootstrap
from reason_decode.evaluation.rerank import SampledProblem, rerank
from tests.fakes import TableScorer

ALL = [1, 2, 3, 4, 5, 6]


def drawn(seed: int, size: int = 6) -> tuple[list[bool], list[int | None], list[float]]:
    """SamplePool of which some are right, some without an answer, some scored alike."""
    dice = random.Random(seed)
    correct = [dice.random() < 0.4 for _ in range(size)]
    answers = [dice.choice([None, 0, 1, 2]) for _ in range(size)]
    return correct, answers, [dice.choice([0.0, 0.25, 0.5, 1.0]) for _ in range(size)]


def by_hand(pick: Callable[[Sequence[int]], bool], size: int, counts: Sequence[int]) -> list[float]:
    """The share of all ordered draws whose pick is right."""
    return [mean(map(pick, itertools.permutations(range(size), n))) for n in counts]


@pytest.mark.parametrize("seed", range(8))
def test_exact_curves_are_the_mean_over_all_draws(seed: int):
    correct, _, scores = drawn(seed)
    reach = by_hand(lambda order: any(correct[i] for i in order), 6, ALL)
    assert pass_curve(correct, ALL) == pytest.approx(reach)
    best = by_hand(lambda order: correct[max(order, key=scores.__getitem__)], 6, ALL)
    assert best_of_n_curve(correct, scores, ALL) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weighted", [False, True])
def test_votes_approach_the_mean_over_all_draws(seed: int, weighted: bool):
    correct, answers, scores = drawn(seed)
    weights = scores if weighted else [1.0] * 6
    said = [None if answer is None else str(answer) for answer in answers]

    def elected(order: Sequence[int]) -> bool:
        vote = weighted_vote([said[i] for i in order], [weights[i] for i in order])
        return correct[order[vote.representative]]

    found = vote_curve(
        correct, answers, ALL, weights=scores if weighted else None, draws=20_000, seed=seed
    )
    assert found == pytest.approx(by_hand(elected, 6, ALL), abs=0.015)


def test_pools_with_one_answer_or_none_vote():
    assert vote_curve([True, False], [None, None], [1, 2]) == pytest.approx([0.5, 0.5], abs=0.06)
    weights = [0.1, 0.2, 0.3]
    assert vote_curve([False, False, True], [None, None, None], [3], weights=weights) == [1]
    assert vote_curve([False, False, True], [4, 4, 4], [3], weights=weights) == [1]
    # A sample without an answer loses even to an answer of weight 0.
    assert vote_curve([False, False, True], [None, None, 4], [3], weights=[1, 1, 0]) == [1]


def pools(count: int = 12, size: int = 40) -> list[SamplePool]:
    made: list[SamplePool] = []
    for seed in range(count):
        dice = random.Random(seed)
        answers = [dice.choice([0, 0, 1, 2, 3]) for _ in range(size)]
        correct = [answer == seed % 3 for answer in answers]
        noisy = [0.3 * right + dice.random() for right in correct]
        scores = {"noisy": noisy, "perfect": [float(right) for right in correct]}
        made.append(SamplePool(correct, answers, scores))
    return made


def test_one_sample_is_right_as_often_as_the_pool_by_every_method():
    problems = pools()
    for values in accuracy_curves(problems, [1], vote_weights=["noisy", "perfect"]).values():
        for pool, (value,) in zip(problems, values, strict=True):
            assert value == pytest.approx(mean(pool.correct), abs=1e-12)


def test_no_method_beats_a_perfect_scorer_which_reaches_pass_at_n():
    counts = [1, 2, 4, 8, 16, 32, 40]
    curves = accuracy_curves(pools(), counts, vote_weights=["noisy", "perfect"])
    for k, reach in enumerate(curves["pass@N"]):
        assert reach == sorted(reach) and reach[-1] == 1
        assert curves["perfect"][k] == pytest.approx(reach, abs=1e-12)
        for values in curves.values():
            # Votes are sampled: four standard errors of 1000 draws.
            assert all(
                x <= y + 4 * math.sqrt(y * (1 - y) / 1000) + 1e-12
                for x, y in zip(values[k], reach, strict=True)
            )


def test_the_whole_pool_chooses_as_rerank_does():
    dice = random.Random(0)
    marks = {f"sample {i}": dice.random() for i in range(30)}
    problems: list[SamplePool] = []
    given: list[SampledProblem] = []
    for k in range(10):
        texts = tuple(f"{name}\nThe answer is {dice.choice([1, 2, 3])}." for name in marks)
        correct = tuple(text.endswith("2.") for text in texts)
        given.append(SampledProblem(k, k, "p", texts, correct))
        answers = answer_ids([text.split()[-1] for text in texts])
        problems.append(SamplePool(correct, answers, {"prm": list(marks.values())}))
    result = rerank(given, TableScorer(lambda step: marks.get(step, 1.0)))
    curves = accuracy_curves(problems, [30], vote_weights=["prm"])
    for way, name in [("best_of_n", "prm"), ("weighted_vote", "prm vote")]:
        assert [x for (x,) in curves[name]] == [row[way]["right"] for row in result["rows"]]


def test_the_same_seed_gives_the_same_curves():
    first, again, other = (
        accuracy_curves(pools(), [3], draws=80, seed=seed)["majority"] for seed in (0, 0, 99)
    )
    assert first == again != other


def test_answer_ids_group_answers_as_votes_do():
    answers = ["East", "0.5", None, "1/2", "east", "7"]
    assert answer_ids(answers) == [0, 1, None, 1, 0, 2]


def test_intervals_cover_the_truth_at_their_level():
    dice = random.Random(0)
    held = 0
    for seed in range(200):
        values = [[float(dice.random() < 0.3)] for _ in range(100)]
        (share,) = bootstrap(values, resamples=500, seed=seed)
        assert share.low <= share.mean == mean(x for (x,) in values) <= share.high
        held += share.low <= 0.3 <= share.high
    assert 0.90 <= held / 200 <= 0.99


def test_paired_bootstrap_pairs_problems():
    dice = random.Random(0)
    hard = [[dice.random()] for _ in range(50)]
    better = [[x + 0.01] for (x,) in hard]
    (gain,) = paired_bootstrap(better, hard)
    assert gain == pytest.approx((0.01, 0.01, 0.01))
    (own,) = bootstrap(hard)
    assert own.high - own.low > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pass_curve([True], [2]), "got N=2 with a pool of 1"),
        (lambda: best_of_n_curve([True], [0.5], [0]), "allowed are 1 to 1"),
        (lambda: best_of_n_curve([True], [], [1]), "got 0 scores for 1 samples"),
        (lambda: best_of_n_curve([True], [math.nan], [1]), "sample 0 has nan in scores"),
        (lambda: vote_curve([], [], [1]), "without samples"),
        (lambda: vote_curve([True], [0], [1], weights=[-1]), "sample 0 has the weight -1"),
        (lambda: vote_curve([True], [0], [1], draws=0), "got draws=0"),
        (lambda: SamplePool([True], [0], {"orm": [math.inf]}), "sample 0 has inf in orm"),
        (lambda: accuracy_curves([], [1]), "got no problems"),
        (
            lambda: accuracy_curves([SamplePool([True], [0])], [1], vote_weights=["orm"]),
            "got vote_weights=",
        ),
        (
            lambda: accuracy_curves(
                [SamplePool([True], [0], {"a": [1]}), SamplePool([True], [0])], [1]
            ),
            "problem 1 has the scores",
        ),
        (lambda: bootstrap([]), "got 0 problems"),
        (lambda: bootstrap([[1], [1, 2]]), "need one or more, all of one length"),
        (lambda: paired_bootstrap([[1]], [[1], [2]]), "got 1 and 2 problems"),
    ],
)
def test_rejects_invalid_arguments(call: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_examples_run():
    # Imported by name: the package could export a function called `curves`.
    module = importlib.import_module("reason_decode.evaluation.curves")
    assert doctest.testmod(module).failed == 0
