import random

import pytest

from reason_decode.evaluation.first_error import calibrate, first_below, location

SEED = 7


def drawn(rng: random.Random, count: int) -> tuple[list[list[float | None]], list[int | None]]:
    """Solutions of coarse scores, so that many are equal, and their first errors."""
    scores: list[list[float | None]] = []
    wrong: list[int | None] = []
    for _ in range(count):
        steps = rng.randint(1, 5)
        scores.append([rng.choice((None, *(k / 8 for k in range(9)))) for _ in range(steps)])
        wrong.append(rng.choice((None, *range(steps))))
    return scores, [None, 0, *wrong[2:]]


def value(scores: list[list[float | None]], wrong: list[int | None], t: float, name: str) -> float:
    return location([first_below(row, t) for row in scores], wrong)[name]


def test_perfect_scores_give_f1_of_1_and_a_threshold_in_the_middle():
    wrong = [0, 2, None, 1]
    scores = [[0.0 if k == first else 1.0 for k in range(3)] for first in wrong]
    assert calibrate(scores, wrong) == calibrate(scores, wrong, "exact") == 0.5
    measured = location([first_below(row, 0.5) for row in scores], wrong)
    assert (measured["f1"], measured["exact"]) == (1.0, 1.0)


@pytest.mark.parametrize("maximise", ["f1", "exact"])
def test_no_threshold_is_better_than_the_calibrated_one(maximise):
    rng = random.Random(SEED)
    for _ in range(200):
        scores, wrong = drawn(rng, rng.randint(2, 12))
        best = value(scores, wrong, calibrate(scores, wrong, maximise), maximise)
        # Between and at all scores that can be; 0 and 1 are the ends of what is calibrated.
        others = [value(scores, wrong, k / 16, maximise) for k in range(1, 17)]
        assert best == max(others)


def test_of_equally_good_thresholds_it_is_the_middle_of_the_widest_range():
    # One of the two is located under (0, 0.2] and under (0.6, 0.9].
    scores: list[list[float | None]] = [[0.2], [0.9, 0.6]]
    measured = [value(scores, [None, 1], t, "exact") for t in (0.2, 0.6, 0.9, 1.0)]
    assert measured == [0.5, 0.0, 0.5, 0.0]
    assert calibrate(scores, [None, 1], "exact") == pytest.approx(0.75)
    # Scores need not be shares.
    assert calibrate([[3.0, -4.0], [5.0]], [1, None]) == -0.5


def test_a_step_without_a_score_is_never_the_first_error():
    assert first_below([None, 0.1], 0.5) == 1
    assert calibrate([[None, 0.9], [0.2], [0.8]], [0, 0, None]) == 0.5


def test_measures_count_every_solution_once():
    measured = location([0, 2, None, 1, None, 0], [1, 1, 1, 1, None, None])
    assert (measured["early"], measured["late"], measured["missed"]) == (1, 1, 1)
    assert (measured["erroneous"], measured["correct"], measured["false_alarms"]) == (4, 2, 1)
    assert (measured["accuracy_erroneous"], measured["accuracy_correct"]) == (0.25, 0.5)
    assert measured["f1"] == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert measured["exact"] == pytest.approx(2 / 6)


def test_a_share_of_nothing_is_none_and_of_no_hits_zero():
    only_right = location([None, 0], [None, None])
    assert (only_right["accuracy_erroneous"], only_right["f1"]) == (None, None)
    assert location([0, 0], [1, None])["f1"] == 0.0


def test_what_cannot_be_calibrated_says_what_to_do():
    with pytest.raises(ValueError, match="maximise 'exact'"):
        calibrate([[0.5]], [None])
    with pytest.raises(ValueError, match="allowed are f1, exact"):
        calibrate([[0.5]], [None], "accuracy")  # pyright: ignore[reportArgumentType]
    assert calibrate([[0.5]], [None], "exact") == 0.25
