from dataclasses import replace

import pytest

from reason_decode.evaluation.parts import Part, folds, share
from reason_decode.evaluation.verify import Located, step_scores, verify
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer
from tests.tolerance import assert_close, roundings

# The score of a step is its text.
SOLUTIONS = [
    Located(f"s{k}", f"p{k}", (f"0.{9 - k % 3}", f"0.{k % 5 + 1}", "0.8"), wrong)
    for k, wrong in enumerate([1, None, 1, 2, None, 0, 1, None])
]
PROMPTS = [solution.prompt for solution in SOLUTIONS]


def test_each_part_is_tested_by_its_own_threshold():
    result = verify(SOLUTIONS, TableScorer(float), folds(PROMPTS, 2))
    assert len(result["thresholds"]) == 2 and result["solutions"] == len(result["rows"]) == 8
    for part, threshold in zip(folds(PROMPTS, 2), result["thresholds"], strict=True):
        assert {result["rows"][k]["threshold"] for k in part.tested} == {threshold}
    assert result["rows"][0]["scores"] == pytest.approx([0.9, 0.1, 0.8])


def test_labels_of_the_tested_cannot_change_the_threshold():
    parts = share(PROMPTS, 0.5)
    before = verify(SOLUTIONS, TableScorer(float), parts)
    others = list(SOLUTIONS)
    for k in parts[0].tested:
        others[k] = replace(others[k], wrong=None if others[k].wrong is not None else 0)
    after = verify(others, TableScorer(float), parts)
    assert before["thresholds"] == after["thresholds"]
    assert [row.get("predicted") for row in before["rows"]] == [
        row.get("predicted") for row in after["rows"]
    ]
    assert before["solutions"] == len(parts[0].tested)
    assert [k for k, row in enumerate(before["rows"]) if "calibrated_on" in row] == sorted(
        parts[0].calibrated
    )


def test_a_prompt_is_never_calibrated_on_and_tested():
    with pytest.raises(ValueError, match="tested on other prompts only"):
        verify(SOLUTIONS, TableScorer(float), [Part([0, 1], [1, 2])])


def test_a_given_threshold_is_used_as_it_is():
    result = verify(SOLUTIONS[:1], TableScorer(float), [Part([], [0])], threshold=0.5)
    assert result["rows"][0]["predicted"] == 1 and result["f1"] is None
    with pytest.raises(ValueError, match="no solutions to test"):
        verify([], TableScorer(float), [Part([], [])], threshold=0.5)


@pytest.mark.numeric
def test_the_batch_changes_nothing_and_the_embedded_model_finds_a_slip(tiny: Tiny):
    steps = ("We need A * B.", "A is 1 + 2 + 3 * 4.", "First 3 * 4 = 14, so A is 1 + 2 + 14.")
    prompt = "((1 + 2 + 3 * 4) * (3 - 5 + 2 * 2)) =\n"
    batch = [Located(str(k), prompt, steps[: k + 1], 2 if k == 2 else None) for k in range(3)]
    alone, together = (step_scores(batch, tiny.prm, size) for size in (1, 3))
    assert_close(alone, together, terms=roundings(tiny.prm.model))
    everything = [Part([], [0, 1, 2])]
    assert verify(batch, tiny.prm, everything, threshold=0.5)["f1"] == 1.0


def test_blank_steps_keep_their_places():
    solution = Located("s", "p", ("0.9", " ", "0.1"), 2)
    assert step_scores([solution], TableScorer(float))[0] == [
        pytest.approx(0.9),
        None,
        pytest.approx(0.1),
    ]


def test_a_solution_too_long_for_the_scorer_counts_with_what_was_read():
    solutions = [Located("s", "p", ("0.9", "0.1", "0.2"), 2), Located("t", "q", ("0.9",), None)]
    scorer, parts = TableScorer(float), [Part([], [0, 1])]
    result = verify(solutions, scorer, parts, threshold=0.5, fits=lambda prompt, steps: 1)
    assert result["rows"][0]["scores"] == [pytest.approx(0.9), None, None]
    assert (result["cut"], result["missed"], result["exact"]) == (1, 1, 0.5)


def test_the_embedded_model_reads_as_far_as_its_positions_go(tiny: Tiny):
    steps = ["First 1 + 2 = 3."] * 400
    count = tiny.prm.fits("1 + 2 =\n", steps)
    assert tiny.prm.fits("1 + 2 =\n", steps[:5]) == 5 and 5 < count < 400
    ends = tiny.prm.format.lay_out("1 + 2 =\n", steps).ends
    assert ends[count - 1] < 1024 <= ends[count]


@pytest.mark.parametrize(("step", "said"), [("nan", "step 1 of s0"), ("inf", "step 1 of s0")])
def test_a_score_that_is_no_number_is_named(step: str, said: str):
    solution = replace(SOLUTIONS[0], steps=("0.5", step))
    with pytest.raises(ValueError, match=said):
        step_scores([solution], TableScorer(float))
