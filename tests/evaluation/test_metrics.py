import itertools
import math

import pytest

from reason_decode.evaluation.metrics import accuracy_interval, crossed_bootstrap, pass_at_k


def test_accuracy_interval_solves_wilsons_equation():
    for correct, items in [(4, 100), (50, 100), (99, 100), (0, 7), (7, 7)]:
        for bound in accuracy_interval(correct, items):
            error = abs(correct / items - bound)
            assert error == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / items))


def test_accuracy_interval_ends_at_0_or_1_if_none_or_all_are_right():
    assert accuracy_interval(0, 10)[0] == 0.0
    assert accuracy_interval(10, 10)[1] == 1.0


def test_pass_at_k_is_the_mean_over_all_draws():
    right = [True, True, False, False, False]
    for k in range(1, 6):
        draws = list(itertools.combinations(right, k))
        assert pass_at_k(5, 2, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize("args", [(0, 0), (3, 2), (-1, 2)])
def test_accuracy_interval_rejects_impossible_counts(args: tuple[int, int]):
    with pytest.raises(ValueError, match="need 0 <= correct <= items"):
        accuracy_interval(*args)


@pytest.mark.parametrize("args", [(4, 5, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_rejects_impossible_draws(args: tuple[int, int, int]):
    with pytest.raises(ValueError, match="1 <= k <= samples"):
        pass_at_k(*args)


def test_crossed_bootstrap_has_the_width_of_runs_and_problems():
    # Only runs differ; only problems differ; both differ.
    runs, problems = [[1.0] * 40] * 3 + [[0.0] * 40] * 3, [[1.0] * 20 + [0.0] * 20] * 6
    both = [
        [a * b for a, b in zip(*pair, strict=True)] for pair in zip(runs, problems, strict=True)
    ]
    assert crossed_bootstrap([[1.0, 1.0]] * 2) == (1.0, 1.0, 1.0)
    found = {x.mean: x.high - x.low for x in map(crossed_bootstrap, (problems, both))}
    assert set(found) == {0.5, 0.25}
    # Of a share of 1/2 over 40 problems: 2 * 1.96 * sqrt(0.25 / 40).
    assert found[0.5] == pytest.approx(0.31, abs=0.02)
    assert crossed_bootstrap(problems[:1]).mean == 0.5
    # Six runs of which half are right: 2 * 1.96 * sqrt(0.25 / 6).
    wide = crossed_bootstrap(runs)
    assert wide.high - wide.low == pytest.approx(0.8, abs=0.14)
    with pytest.raises(ValueError, match="need one or more of each"):
        crossed_bootstrap([[1.0], [1.0, 0.0]])
