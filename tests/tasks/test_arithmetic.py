import json
import random
from pathlib import Path

import pytest

from examples.tiny import arithmetic_problems
from reason_decode.tasks import arithmetic


@pytest.mark.parametrize("deep", [False, True])
def test_the_last_line_is_the_value_that_python_computes(deep: bool) -> None:
    rng = random.Random(1)
    for _ in range(100):
        expression = arithmetic_problems.multi_step(rng, deep)
        value = eval(expression)  # our own expression, not a model's text
        assert str(arithmetic.solve(expression)[-1]) == f"So the answer is {value}."


def test_solutions_of_public_items_end_in_their_targets(shared_data: Path) -> None:
    text = (shared_data / "bbh" / "multistep_arithmetic_two.json").read_text()
    for item in json.loads(text)["examples"]:
        work = arithmetic.solve(item["input"].removesuffix("="))
        assert str(work[-1]) == f"So the answer is {item['target']}."


def test_a_line_computes_one_operation_and_long_products_are_split() -> None:
    assert [str(line) for line in arithmetic.solve("((37 * 82) - (1 + 2 * 3))")] == [
        "We need A - B.",
        "A is 37 * 82.",
        "Split 37 * 82, so A is 37 * 80 + 37 * 2.",
        "Then 37 * 80 = 2960, so A is 2960 + 37 * 2.",
        "Then 37 * 2 = 74, so A is 2960 + 74.",
        "Then 2960 + 74 = 3034, so A is 3034.",
        "B is 1 + 2 * 3.",
        "First 2 * 3 = 6, so B is 1 + 6.",
        "Then 1 + 6 = 7, so B is 7.",
        "Now A - B is 3034 - 7.",
        "First 3034 - 7 = 3027, so it is 3027.",
        "So the answer is 3027.",
    ]


@pytest.mark.parametrize(
    "text", ["", "1 +", "(1", "1 / 2", "2 ** 3", "a + b", "7", "(" * 500, "1)"]
)
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are integers"):
        arithmetic.solve(text)


def test_a_right_step_out_of_order_is_wrong() -> None:
    steps = [str(line) for line in arithmetic.solve("((1 + 2) * (3 - 4))")]
    assert arithmetic.grade_steps("((1 + 2) * (3 - 4))", steps) == [True] * len(steps)
    swapped = [steps[0], steps[2], *steps[2:]]
    assert arithmetic.grade_steps("((1 + 2) * (3 - 4))", swapped) == [True, False]
    assert arithmetic.grade_steps("((1 + 2) * (3 - 4))", [*steps, "More."])[-1] is False
