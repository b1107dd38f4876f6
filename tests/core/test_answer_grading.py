"""Grading of solutions by their final answers."""

import doctest
from importlib import import_module

import pytest

from reason_decode.core.answers import none_right_message, reference_answer, states_answer


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("6 * 7 = <<6*7=42>>42\n#### 42", "42"),
        (r"So $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (" 1/2 ", "1/2"),
        ("x = 5", "x = 5"),
        ("A text that states nothing. " * 8, None),
    ],
)
def test_a_reference_is_an_answer_or_a_solution(given: str, answer: str | None) -> None:
    assert reference_answer(given) == answer


def test_a_solution_is_right_if_its_final_answer_is() -> None:
    assert states_answer("3 + 4 = 7\n#### 7 apples", "7")
    assert states_answer("7", "7") and not states_answer("7 and 8, as said before", "7")
    assert not states_answer("#### 8", "7")


def test_a_warning_shows_a_stated_answer_beside_the_reference() -> None:
    shown = none_right_message(3, "Well.\nThe answer is 7.", "seven")
    assert shown.startswith("none of 3 is graded right") and "'7'" in shown and "'seven'" in shown
    assert "it ends with 'Hm'" in none_right_message(3, "Hm", "7")
    assert len(none_right_message(3, "#### " + "9" * 10**6, "1" * 10**6)) < 1000


@pytest.mark.parametrize("name", ["grading", "clean", "compare"])
def test_examples_of_answers_run(name: str) -> None:
    found = doctest.testmod(import_module(f"reason_decode.core.answers.{name}"))
    assert found.attempted and not found.failed
