import json
from pathlib import Path

import pytest

from reason_decode.tasks import arithmetic_item
from reason_decode.tasks.bbh_arithmetic import BBH_ARITHMETIC


def test_published_targets_are_the_values_of_the_prompts(shared_data: Path):
    path = shared_data / "bbh" / "multistep_arithmetic_two.json"
    items, rejected = BBH_ARITHMETIC.load(path, None)
    assert len(items) == 167 and rejected == []
    assert items[0].prompt == "((-9 * -5 - 6 + -2) - (-8 - -6 * -3 * 1)) =\n"
    for item in items:
        assert BBH_ARITHMETIC.grade(item, f"#### {item.target}")
        assert arithmetic_item(item.prompt).target == item.target


def test_grade_reads_the_stated_answer():
    item = arithmetic_item("(-1 + 2) * 1000 =")
    assert (item.prompt, item.target) == ("(-1 + 2) * 1000 =\n", "1000")
    grade = BBH_ARITHMETIC.grade
    assert grade(item, "So the answer is 1,000.")
    assert grade(item, r"\boxed{\frac{2000}{2}}")
    assert not grade(item, "So the answer is 100.") and grade(item, "1000")
    assert grade(item, r"\boxed{\sqrt{1000000}}")


def test_malformed_examples_are_rejected_by_place(tmp_path: Path):
    path = tmp_path / "bbh.json"
    good = {"input": "1 + 1 =", "target": "2"}
    bad = [3, {"input": "a ="}, {"input": "1 =", "target": 1}]
    path.write_text(json.dumps({"examples": [*bad, good]}))
    items, rejected = BBH_ARITHMETIC.load(path, None)
    assert [item.id for item in items] == [3] and [reject.row for reject in rejected] == [1, 2, 3]
    with pytest.raises(ValueError, match="no usable row in 0:3"):
        BBH_ARITHMETIC.load(path, "0:3")


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "data"
    path.write_text("Number\n1\n")
    with pytest.raises(ValueError, match="data is no JSON"):
        BBH_ARITHMETIC.load(path, None)
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds no"):
        BBH_ARITHMETIC.load(path, None)


def test_a_row_of_samples_states_its_expression():
    assert BBH_ARITHMETIC.row_to_item({"prompt": "1 + 1 =\n"}) == arithmetic_item("1 + 1")


def test_solutions_are_graded_as_everywhere_else():
    item = arithmetic_item("1 + 1.5")
    texts = ["So the answer is 5/2.", "\\boxed{2.50}", "#### 2.5 apples", "The answer is 2.", "3"]
    assert [BBH_ARITHMETIC.grade(item, text) for text in texts] == [True] * 3 + [False] * 2
