from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reason_decode.evaluation.splits import CalibrationSplit, k_fold_splits, share_split
from reason_decode.evaluation.verify import AnnotatedSolution, score_steps, scored_part, verify
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer
from tests.tolerance import assert_close, roundings

# The score of a step is its text.
SOLUTIONS = [
    AnnotatedSolution(f"s{k}", f"p{k}", (f"0.{9 - k % 3}", f"0.{k % 5 + 1}", "0.8"), wrong)
    for k, wrong in enumerate([1, None, 1, 2, None, 0, 1, None])
]
PROMPTS = [solution.prompt for solution in SOLUTIONS]


def test_each_split_is_tested_by_its_own_threshold():
    result = verify(SOLUTIONS, TableScorer(float), k_fold_splits(PROMPTS, 2))
    assert len(result["thresholds"]) == 2 and result["solutions"] == len(result["rows"]) == 8
    for split, threshold in zip(k_fold_splits(PROMPTS, 2), result["thresholds"], strict=True):
        assert {result["rows"][k]["threshold"] for k in split.test} == {threshold}
    assert result["rows"][0]["scores"] == pytest.approx([0.9, 0.1, 0.8])


def test_labels_of_tested_solutions_do_not_change_the_threshold():
    splits = share_split(PROMPTS, 0.5)
    before = verify(SOLUTIONS, TableScorer(float), splits)
    others = list(SOLUTIONS)
    for k in splits[0].test:
        others[k] = replace(others[k], first_error=None if others[k].first_error is not None else 0)
    after = verify(others, TableScorer(float), splits)
    assert before["thresholds"] == after["thresholds"]
    assert [row.get("predicted") for row in before["rows"]] == [
        row.get("predicted") for row in after["rows"]
    ]
    assert before["solutions"] == len(splits[0].test)
    assert [k for k, row in enumerate(before["rows"]) if "calibrated_on" in row] == sorted(
        splits[0].calibration
    )


def test_a_prompt_is_never_calibrated_on_and_tested():
    with pytest.raises(ValueError, match="tested on other prompts only"):
        verify(SOLUTIONS, TableScorer(float), [CalibrationSplit([0, 1], [1, 2])])


def test_a_given_threshold_is_not_calibrated():
    result = verify(SOLUTIONS[:1], TableScorer(float), [CalibrationSplit([], [0])], threshold=0.5)
    assert result["rows"][0]["predicted"] == 1 and result["f1"] is None
    with pytest.raises(ValueError, match="no solutions to test"):
        verify([], TableScorer(float), [CalibrationSplit([], [])], threshold=0.5)


@pytest.mark.numeric
def test_batch_size_changes_nothing_and_the_packaged_model_finds_an_error(tiny: Tiny):
    steps = ("We need A * B.", "A is 1 + 2 + 3 * 4.", "First 3 * 4 = 14, so A is 1 + 2 + 14.")
    prompt = "((1 + 2 + 3 * 4) * (3 - 5 + 2 * 2)) =\n"
    batch = [
        AnnotatedSolution(str(k), prompt, steps[: k + 1], 2 if k == 2 else None) for k in range(3)
    ]
    alone, together = (score_steps(batch, tiny.prm, size) for size in (1, 3))
    assert_close(alone, together, terms=roundings(tiny.prm.model))
    everything = [CalibrationSplit([], [0, 1, 2])]
    assert verify(batch, tiny.prm, everything, threshold=0.5)["f1"] == 1.0


def test_blank_steps_keep_their_indices():
    solution = AnnotatedSolution("s", "p", ("0.9", " ", "0.1"), 2)
    assert score_steps([solution], TableScorer(float))[0] == [
        pytest.approx(0.9),
        None,
        pytest.approx(0.1),
    ]


def test_a_solution_that_exceeds_the_context_counts_with_the_steps_that_fit():
    solutions = [
        AnnotatedSolution("s", "p", ("0.9", "0.1", "0.2"), 2),
        AnnotatedSolution("t", "q", ("0.9",), None),
    ]

    class Short(TableScorer):
        def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
            return 1

    result = verify(solutions, Short(float), [CalibrationSplit([], [0, 1])], threshold=0.5)
    assert result["rows"][0]["scores"] == [pytest.approx(0.9), None, None]
    assert (result["truncated"], result["missed"], result["exact"]) == (1, 1, 0.5)


def test_max_steps_ends_at_the_last_position_of_the_model(tiny: Tiny):
    steps = ["First 1 + 2 = 3."] * 400
    count = tiny.prm.max_steps("1 + 2 =\n", steps)
    assert tiny.prm.max_steps("1 + 2 =\n", steps[:5]) == 5 and 5 < count < 400
    ends = tiny.prm.encode("1 + 2 =\n", steps).score_positions
    assert ends[count - 1] < 1024 <= ends[count]


@pytest.mark.parametrize(("step", "said"), [("nan", "step 1 of s0"), ("inf", "step 1 of s0")])
def test_a_score_that_is_not_finite_is_named(step: str, said: str):
    solution = replace(SOLUTIONS[0], steps=("0.5", step))
    with pytest.raises(ValueError, match=said):
        score_steps([solution], TableScorer(float))


def test_steps_of_the_other_part_are_not_scored():
    """A verifier of answers read the thought, and its scores of it moved the threshold."""
    steps = ("<think>0.1", "0.2</think>", "0.9", "0.8")
    one = AnnotatedSolution("s", "p", steps, 3)
    part: Any
    for part, scores in (("answer", [None, None, 0.9, 0.8]), ("thought", [0.1, 0.2, None, None])):
        result = verify(
            [one], TableScorer(float), [CalibrationSplit([], [0])], threshold=0.85, score_part=part
        )
        assert result["rows"][0]["scores"] == pytest.approx(scores)
        assert result["truncated"] == 0
    assert scored_part([one])[0] == one
