import math
import random

import pytest

from reason_decode.mining import calibrate_threshold


def test_the_lowest_threshold_that_is_precise_enough():
    deltas = [5.0, 4.0, 3.0, 2.0, 1.0]
    good = [True, False, True, True, False]
    found = calibrate_threshold(deltas, good, precision=0.75)
    assert found == (1.5, 0.75, 1.0, 4)
    # Between there are worse ones: what counts is all that is kept.
    assert calibrate_threshold(deltas, good, precision=1.0) == (4.5, 1.0, 1 / 3, 1)


def test_the_reported_precision_is_that_of_the_deltas_kept():
    deltas = [0.3, -1.0, 2.0, 2.0, 0.7, -0.2, 1.1]
    good = [True, False, True, True, False, False, True]
    for precision in (0.5, 0.7, 0.8, 1.0):
        found = calibrate_threshold(deltas, good, precision=precision)
        kept = [g for d, g in zip(deltas, good, strict=True) if d >= found.threshold]
        assert len(kept) == found.kept and sum(kept) / len(kept) == found.precision >= precision


def test_equal_deltas_have_one_decision_and_nan_is_rejected():
    deltas, good = [1.0, 1.0, 0.0, math.nan], [True, False, False, True]
    assert calibrate_threshold(deltas, good, precision=0.5) == (0.5, 0.5, 0.5, 2)
    with pytest.raises(ValueError, match=r"these 3 deltas has a precision of 0.9; .* is 0.500"):
        calibrate_threshold(deltas, good, precision=0.9)


@pytest.mark.parametrize(("good", "precision"), [([True], 0.9), ([True, True], 0.0)])
def test_rejects_invalid_arguments(good, precision):
    with pytest.raises(ValueError, match="one judgement per delta"):
        calibrate_threshold([1.0, 2.0], good, precision=precision)


def test_a_confidence_needs_enough_judgements():
    # 0.95 ** 58 > 0.05 >= 0.95 ** 59
    for count, enough in ((58, False), (59, True)):
        deltas, good = [float(k) for k in range(count)], [True] * count
        assert calibrate_threshold(deltas, good).kept == count
        if enough:
            assert calibrate_threshold(deltas, good, confidence=0.95).kept == count
        else:
            with pytest.raises(ValueError, match="of 0.95 with a confidence of 0.95"):
                calibrate_threshold(deltas, good, confidence=0.95)
    with pytest.raises(ValueError, match="no number of judgements"):
        calibrate_threshold(deltas, good, precision=1.0, confidence=0.95)


def test_new_rationales_reach_the_precision_at_the_given_confidence():
    chance = random.Random(0)
    held = {None: 0, 0.95: 0}
    for _ in range(200):
        good = [chance.random() < 0.5 for _ in range(400)]
        deltas = [chance.gauss(2.5 * own, 1) for own in good]
        for confidence in held:
            threshold = calibrate_threshold(
                deltas, good, precision=0.9, confidence=confidence
            ).threshold
            right, wrong = (math.erfc((threshold - mean) / math.sqrt(2)) for mean in (2.5, 0.0))
            held[confidence] += right / (right + wrong) >= 0.9
    assert held[None] < 120 and held[0.95] > 180
