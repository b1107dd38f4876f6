"""Final answers: reading them, their exact values, when two are the same."""

import json
import random
import time
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from answer_cases import DIFFERENT, SAME, STATED
from hypothesis import given
from hypothesis import strategies as st

from reason_decode.core.answers import (
    answer_value,
    evaluate,
    exact_value,
    extract_answer,
    math_verify,
    same_answer,
    same_answers,
)

needs_math_verify = pytest.mark.skipif(
    find_spec("math_verify") is None, reason="math-verify is not installed"
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{1}, no: \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\text{a \} b}} and \boxed{open", r"\text{a \} b}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"{ \boxed{7} #### 8", "7"),
        ("She earns $18.\n#### $1,018", "1018"),
        ("#### 18\nthe answer is 4", "18"),
        ("So the answer is -38.", "-38"),
        ("The final answer is: 3.5. Good.", "3.5"),
        ("the answer is 1, hence the answer is **2**.", "2"),
        ("The answer is 3 * 4 = 12.", "12"),
        ("Answer: (10 - 4) * 5 - 6 = 24", "(10 - 4) * 5 - 6"),
        ("Answer: 1 = 1\nanswer: 6 / (1 - 3 / 4) = 24 ", "6 / (1 - 3 / 4)"),
        ("**Answer:** x = 5", "5"),
        ("Final answer: (B)", "(B)"),
        ("Answer: None", "None"),
        ("#### 18\n####", "18"),
        ("the answer is", None),
        ("Answer:\n", None),
        ("It is 24. The Answer", None),
        (r"\boxed{}", None),
        ("", None),
    ],
)
def test_extract_answer(text: str, answer: str | None):
    assert extract_answer(text) == answer


def test_extract_answer_reads_the_end_of_a_long_text():
    assert extract_answer("#### 1\n" + "x" * 1_000_000 + "\n#### 2") == "2"
    assert extract_answer("#### 1\n" + "x" * 1_000_000) is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("5 * (10 - 4) - 6", 24),
        ("2 - 3 - 4", -5),
        ("16 / 4 / 2", 2),
        ("1 + 2 * 3", 7),
        ("((-9 * -5 - 6 + -2) - (-8 - -6 * -3 * 1))", 63),
        ("--3", 3),
        ("-(2 + +3)", -5),
        (".5 + 1.25", Fraction(7, 4)),
        ("8 ÷ (3 − 8 ÷ 3)", 24),
        ("6 × 4", 24),
    ],
)
def test_evaluate_is_exact(expression: str, value: Fraction | int):
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["", " ", "1 / 0", "1 / (2 - 2)", "1 2", "2 (3)", "2 ** 3", "2^3", "1e3", "1,000", "5.", "."]
    + ["(1", "1)", "()", "1 +", "* 1", "x", "٣", "²", "None", "__import__('os')", "9" * 51]
    + ["1 + " * 200 + "1", "-" * 500, "(" * 51 + "1" + ")" * 51],
)
def test_evaluate_gives_none_for_what_has_no_value(expression: str):
    assert evaluate(expression) is None


def test_evaluate_reads_up_to_its_limits():
    assert evaluate("(" * 50 + "1" + ")" * 50) == 1
    assert evaluate("9" * 50) == 10**50 - 1
    assert evaluate("1*" * 249 + "1 ") == 1


def test_evaluate_agrees_with_python_on_random_expressions():
    rng = random.Random(0)
    for _ in range(300):
        text = "Fraction(1)"
        for _ in range(rng.randrange(1, 8)):
            text = rng.choice(
                [
                    f"({text})",
                    f"-{text}",
                    f"{text} {rng.choice('+-*/')} Fraction({rng.randrange(9)})",
                ]
            )
        try:
            expected = eval(text, {"Fraction": Fraction})
        except ZeroDivisionError:
            expected = None
        assert evaluate(text.replace("Fraction", "")) == expected, text


def test_no_text_raises_or_takes_long():
    rng = random.Random(1)
    pieces = ["\\boxed{", "{", "}", "(", ")", "-", "1", "9" * 40, " ", "\n", "#### ", "=", "$", ","]
    pieces += ["the answer is ", "Answer: ", "\\frac", "²", "\ud800", "\x00", "%", ".", "*"]
    texts = [piece * (1_000_000 // len(piece)) for piece in pieces]
    texts += ["".join(rng.choices(pieces, k=rng.randrange(40))) for _ in range(500)]
    texts += ["".join(rng.choices(pieces, k=100_000)) for _ in range(2)]
    start = time.process_time()
    for text in texts:
        extract_answer(text)
        evaluate(text)
        same_answer(text.replace("\\", ""), "1")
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/2", "0.5"),
        ("50%", "1/2"),
        (r"50\%", "0.5"),
        ("$70,000", "70000"),
        (r"\$5", "5.0"),
        (r"\frac{1}{2}", "0.5"),
        (r"-\dfrac12", "-1/2"),
        (r"3 \times 8", "4 * 6"),
        ("5 * (10 - 4) - 6", "24"),
        (r"\text{East}", "east"),
        ("x = 3", "3"),
        ("{1, 2}", "1,2"),
        ("x^{2}", "x^2"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        ("New  York.", "new york"),
    ],
)
def test_same_answer(a: str, b: str):
    assert same_answer(a, b) and same_answer(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.333", "1/3"),
        ("50", "51%"),
        ("4 5", "45"),
        ("(1,234)", "1234"),
        ("x^{12}", "x^1 2"),
        ("24", "None"),
        ("1/0", "2/0"),
        (r"\frac{1}{2}", r"\frac{2}{1}"),
        ("None", "No"),
    ],
)
def test_other_answers_differ(a: str, b: str):
    assert not same_answer(a, b) and not same_answer(b, a)


@needs_math_verify
@pytest.mark.parametrize(("a", "b"), SAME)
def test_same_answer_in_other_spellings(a: str, b: str) -> None:
    assert same_answer(a, b) and same_answer(b, a)


@needs_math_verify
@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_answers_that_look_alike(a: str, b: str) -> None:
    assert not same_answer(a, b) and not same_answer(b, a)


@needs_math_verify
@pytest.mark.parametrize(("text", "answer"), STATED)
def test_answers_as_models_state_them(text: str, answer: str | None) -> None:
    found = extract_answer(text)
    assert found is None if answer is None else found is not None and same_answer(found, answer)


@needs_math_verify
def test_shared_cases_are_right() -> None:
    path = Path(__file__).resolve().parents[3] / "shared" / "cases" / "answers.jsonl"
    if not path.is_file():
        pytest.skip(f"no cases at {path}")
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [case["id"] for case in cases if not case["judgement"] and not is_right(case)]
    assert wrong == []


def is_right(case: dict[str, Any]) -> bool:
    if case["type"] == "same":
        found = same_answer(case["a"], case["b"])
        return found == same_answer(case["b"], case["a"]) == case["same"]
    stated = extract_answer(case["text"])
    if "not_answer" in case:
        return stated is None or not same_answer(stated, case["not_answer"])
    if case["answer"] is None:
        return stated is None
    return stated is not None and same_answer(stated, case["answer"])


def test_options_of_same_answer() -> None:
    assert same_answer("3.14", "3.1400001", tolerance=1e-6)
    assert not same_answer("3.14", "3.15", tolerance=1e-6)
    assert same_answer(r"\sqrt{2}", "1.41421", tolerance=1e-4)
    assert not same_answer(r"\sqrt{2}", "1.41421")
    assert same_answer("20%", "20") and not same_answer("20%", "20", strict=True)
    assert same_answer("1, 2", "2, 1") and not same_answer("1, 2", "2, 1", ordered=True)
    assert same_answer("5 cm", "5") and not same_answer("5 cm", "5", strict=True)
    assert same_answer("x = 5", "5") and not same_answer("x = 5", "5", strict=True)


def test_thoughts_are_read_only_where_asked_for() -> None:
    text = "<think>so \\boxed{3}</think> The answer is 4."
    assert extract_answer(text) == "4"
    assert extract_answer(text, thinking=None) == "3"
    assert extract_answer("[T]the answer is 3[/T] Answer: 4", thinking=("[T]", "[/T]")) == "4"


def test_many_pairs_are_compared_as_one_by_one() -> None:
    pairs = [("1/2", "0.5"), ("1/3", "0.333"), ("0.5", "1/2"), ("East", "east")]
    assert same_answers(pairs) == [same_answer(*pair) for pair in pairs]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2^10", 1024),
        ("10^(-3)", Fraction(1, 1000)),
        ("5!", 120),
        ("1.5e6", 1_500_000),
        ("-2^2", -4),
    ]
    + [
        ("5.", 5),
        ("2^3^2", 512),
        ("9^9^9^9", None),
        ("(9!)!", None),
        ("2^0.5", None),
        ("2x", None),
    ],
)
def test_exact_value_reads_powers_factorials_and_exponents(
    expression: str, value: Fraction | int | None
) -> None:
    assert exact_value(expression) == value


@given(st.text(alphabet="0123456789abcxyzRX+-*/^_=<>(){}[]\\.,:;%$!° \nπ√½−", max_size=40))
def test_every_answer_is_itself_and_nothing_raises(text: str) -> None:
    found = extract_answer(text)
    answer_value(text)
    if found is not None:
        assert same_answer(found, found)
        assert same_answer(found, f" {found} ")


@given(
    st.from_regex(
        r"[1-9][0-9]{0,6}(\.[0-9]{1,4})?|[a-z]\^[2-9]|\\frac\{[1-9]\}\{[2-9]\}", fullmatch=True
    )
)
def test_what_a_box_holds_is_extracted(inside: str) -> None:
    assert extract_answer(f"So it is $\\boxed{{{inside}}}$.") == inside


@given(st.fractions(), st.fractions())
def test_comparison_of_numbers_is_that_of_fractions(a: Fraction, b: Fraction) -> None:
    assert same_answer(str(a), str(b)) is same_answer(str(b), str(a)) is (a == b)


def test_latex_without_math_verify_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(math_verify, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install math-verify"):
        same_answer(r"\sqrt{8}", r"2\sqrt{2}")


@needs_math_verify
def test_latex_is_compared_by_math_verify():
    assert same_answer(r"\sqrt{8}", r"2\sqrt{2}")
    assert same_answer("3.5", r"3\frac{1}{2}")
    assert not same_answer(r"\sqrt{8}", r"\sqrt{7}")
