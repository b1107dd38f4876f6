import pytest

from reason_decode.evaluation.splits import folds, held_out, share

PROMPTS = [f"problem {k % 7}" for k in range(20)]


def test_folds_test_each_solution_once_and_never_split_a_prompt():
    parts = folds(PROMPTS, 3)
    assert sorted(k for part in parts for k in part.tested) == list(range(20))
    for part in parts:
        assert sorted(part.calibrated + part.tested) == list(range(20))
        assert not {PROMPTS[k] for k in part.calibrated} & {PROMPTS[k] for k in part.tested}
    assert sorted(len({PROMPTS[k] for k in part.tested}) for part in parts) == [2, 2, 3]


def test_parts_depend_on_the_set_of_prompts_alone():
    backwards = folds(PROMPTS[::-1], 3)
    for part, other in zip(folds(PROMPTS, 3), backwards, strict=True):
        assert part.tested == sorted(19 - k for k in other.tested)


def test_a_share_is_of_prompts_with_at_least_one_on_either_side():
    sizes = [len({PROMPTS[k] for k in share(PROMPTS, s)[0].calibrated}) for s in (0.01, 0.3, 0.99)]
    assert sizes == [1, 2, 6]


def test_other_data_are_calibrated_on_but_for_prompts_that_are_tested():
    assert held_out(["a", "b"], ["c", "a", "d"])[0] == ([2, 4], [0, 1])
    with pytest.raises(ValueError, match="tested too"):
        held_out(["a"], ["a", "a"])


@pytest.mark.parametrize("count", [1, 8])
def test_impossible_folds_are_refused(count: int):
    with pytest.raises(ValueError, match="need 2 to 7"):
        folds(PROMPTS, count)
    for size in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            share(PROMPTS, size)
