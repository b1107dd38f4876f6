import random

import pytest

from reason_decode.evaluation.first_error import best_threshold, first_below, first_error_metrics

SEED = 7


def random_solutions(
    rng: random.Random, count: int
) -> tuple[list[list[float | None]], list[int | None]]:
    """Solutions of coarse scores, so that many are equal, and their first errors."""
    scores: list[list[float | None]] = []
    wrong: list[int | None] = []
    for _ in range(count):
        steps = rng.randint(1, 5)
        scores.append([rng.choice((None, *(k / 8 for k in range(9)))) for _ in range(steps)])
        wrong.append(rng.choice((None, *range(steps))))
    return scores, [None, 0, *wrong[2:]]


def value(scores: list[list[float | None]], wrong: list[int | None], t: float, name: str) -> float:
    return first_error_metrics([first_below(row, t) for row in scores], wrong)[name]


def test_perfect_scores_give_f1_of_1_and_the_threshold_in_the_middle():
    wrong = [0, 2, None, 1]
    scores = [[0.0 if k == first else 1.0 for k in range(3)] for first in wrong]
    assert best_threshold(scores, wrong) == best_threshold(scores, wrong, "exact") == 0.5
    metrics = first_error_metrics([first_below(row, 0.5) for row in scores], wrong)
    assert (metrics["f1"], metrics["exact"]) == (1.0, 1.0)


@pytest.mark.parametrize("maximise", ["f1", "exact"])
def test_no_threshold_is_better_than_the_calibrated_one(maximise):
    rng = random.Random(SEED)
    for _ in range(200):
        scores, wrong = random_solutions(rng, rng.randint(2, 12))
        best = value(scores, wrong, best_threshold(scores, wrong, maximise), maximise)
        # All scores and the points between them; thresholds are calibrated from 0 to 1.
        others = [value(scores, wrong, k / 16, maximise) for k in range(1, 17)]
        assert best == max(others)


def test_of_equally_good_thresholds_the_middle_of_the_widest_range_is_taken():
    # One of the two is predicted exactly for thresholds in (0, 0.2] and in (0.6, 0.9].
    scores: list[list[float | None]] = [[0.2], [0.9, 0.6]]
    metrics = [value(scores, [None, 1], t, "exact") for t in (0.2, 0.6, 0.9, 1.0)]
    assert metrics == [0.5, 0.0, 0.5, 0.0]
    assert best_threshold(scores, [None, 1], "exact") == pytest.approx(0.75)
    # Scores need not be in [0, 1].
    assert best_threshold([[3.0, -4.0], [5.0]], [1, None]) == -0.5


def test_a_step_without_a_score_is_never_the_first_error():
    assert first_below([None, 0.1], 0.5) == 1
    assert best_threshold([[None, 0.9], [0.2], [0.8]], [0, 0, None]) == 0.5


def test_metrics_count_every_solution_once():
    metrics = first_error_metrics([0, 2, None, 1, None, 0], [1, 1, 1, 1, None, None])
    assert (metrics["early"], metrics["late"], metrics["missed"]) == (1, 1, 1)
    assert (metrics["erroneous"], metrics["correct"], metrics["false_alarms"]) == (4, 2, 1)
    assert (metrics["accuracy_erroneous"], metrics["accuracy_correct"]) == (0.25, 0.5)
    assert metrics["f1"] == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert metrics["exact"] == pytest.approx(2 / 6)


def test_f1_of_an_empty_group_is_none_and_without_hits_zero():
    only_right = first_error_metrics([None, 0], [None, None])
    assert (only_right["accuracy_erroneous"], only_right["f1"]) == (None, None)
    assert first_error_metrics([0, 0], [1, None])["f1"] == 0.0


def test_calibration_rejects_invalid_arguments():
    with pytest.raises(ValueError, match="maximise 'exact'"):
        best_threshold([[0.5]], [None])
    with pytest.raises(ValueError, match="allowed are f1, exact"):
        best_threshold([[0.5]], [None], "accuracy")  # pyright: ignore[reportArgumentType]
    assert best_threshold([[0.5]], [None], "exact") == 0.25
