import pytest

from reason_decode.evaluation.splits import k_fold_splits, other_data_split, share_split

PROMPTS = [f"problem {k % 7}" for k in range(20)]


def test_folds_test_each_solution_once_and_never_divide_a_prompt():
    splits = k_fold_splits(PROMPTS, 3)
    assert sorted(k for split in splits for k in split.test) == list(range(20))
    for split in splits:
        assert sorted(split.calibration + split.test) == list(range(20))
        assert not {PROMPTS[k] for k in split.calibration} & {PROMPTS[k] for k in split.test}
    assert sorted(len({PROMPTS[k] for k in split.test}) for split in splits) == [2, 2, 3]


def test_splits_depend_on_the_set_of_prompts_alone():
    backwards = k_fold_splits(PROMPTS[::-1], 3)
    for split, other in zip(k_fold_splits(PROMPTS, 3), backwards, strict=True):
        assert split.test == sorted(19 - k for k in other.test)


def test_share_split_has_at_least_one_prompt_on_either_side():
    sizes = [
        len({PROMPTS[k] for k in share_split(PROMPTS, s)[0].calibration}) for s in (0.01, 0.3, 0.99)
    ]
    assert sizes == [1, 2, 6]


def test_other_data_calibrate_without_tested_prompts():
    assert other_data_split(["a", "b"], ["c", "a", "d"])[0] == ([2, 4], [0, 1])
    with pytest.raises(ValueError, match="tested, too"):
        other_data_split(["a"], ["a", "a"])


@pytest.mark.parametrize("count", [1, 8])
def test_rejects_impossible_splits(count: int):
    with pytest.raises(ValueError, match="need 2 to 7"):
        k_fold_splits(PROMPTS, count)
    for size in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            share_split(PROMPTS, size)
