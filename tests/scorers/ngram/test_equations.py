import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_decode.scorers.ngram.equations import Equation, evaluate_expression, find_equations


@pytest.mark.parametrize(
    ("side", "found"),
    [
        ("2 + 3 \\cdot 4", 14),
        ("2^{10} - \\frac{1}{2}", 1023.5),
        ("\\frac12 + \\dfrac{1}{3}", 5 / 6),
        ("-2^2", -4),
        ("2(3)(4)", 24),
        ("\\left( 1 + 2 \\right)^2", 9),
        ("\\sqrt[3]{27} + \\sqrt{16}", 7),
        ("\\binom{5}{2} - 4!", -14),
        ("|-3| / 2", 1.5),
        ("90^\\circ - 30^{\\circ}", 60),
        ("1{,}000 + 1,000 + 1.5", 2001.5),
        ("50\\%", 0.5),
        ("2^10", 1024),
    ],
)
def test_expressions_are_computed(side: str, found: float) -> None:
    assert evaluate_expression(side) == pytest.approx(found)


@pytest.mark.parametrize(
    "side",
    [
        "",
        "2 +",
        "(2",
        "1/0",
        "x_1",
        "\\foo",
        "9!!!!",
        "10^{64^{64}}",
        "(((10^{15})^{20})^{20})^{20}",
    ]
    + ["9" * 10_000, "(-8)^{1/3}", "(" * 10_000, "\\binom{2.5}{2}", "{2", "\\sqrt[2"],
)
def test_rejects_what_cannot_be_computed(side: str) -> None:
    with pytest.raises(ValueError, match="cannot be computed"):
        evaluate_expression(side)


def test_letters_are_given_or_arbitrary() -> None:
    assert evaluate_expression("2x + y", {"x": 3, "y": 1}) == 7
    assert evaluate_expression("x", 1) == evaluate_expression("x", 1) != evaluate_expression("x", 2)
    with pytest.raises(ValueError, match="cannot be computed"):
        evaluate_expression("2x", {"y": 1})


def outcomes(text: str) -> list[tuple[str, bool]]:
    return [(x.kind, x.holds) for x in find_equations(text)]


def test_numbers_hold_or_fail() -> None:
    assert outcomes("It costs \\[ much, \\[1 = 2\\].") == [("number", False)]
    assert outcomes("So $2 + 3 = 5 = 6$ and \\[7 = 7.\\]") == [
        ("number", True),
        ("number", False),
        ("number", True),
    ]
    (rounded,) = find_equations("$\\frac{22}{7} \\approx 3.14$")
    assert rounded == Equation("number", holds=False, near=True, rounded=True)


def test_rearrangements_hold_for_any_letters_also_across_lines() -> None:
    lines = "(x + 1)^2 &= x^2 + 2x + 1 \\\\ &= x(x + 2) + 1 \\\\ &= x^2 + 3x"
    text = "\\begin{align*}" + lines + "\\end{align*}"
    assert outcomes(text) == [("stated", True), ("rearranged", True), ("rearranged", False)]


def test_stated_equations_are_checked_with_the_numbers_of_their_letters() -> None:
    assert outcomes("$2x = 6$, so $x = 3$")[-1] == ("solved", True)
    assert outcomes("$2x = 6$, so $x = 4$")[-1] == ("solved", False)
    # Of two solutions neither is the one that is meant.
    assert "solved" not in dict(outcomes("$x^2 = 4$: $x = 2$ or $x = -2$"))


def test_relations_other_than_equality_are_left_out() -> None:
    assert outcomes("$7 \\equiv 2 \\pmod{5}$, $1 < 2$, $x \\in A$, 2 = 3, $f_1 = 2$") == []


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-"))
def test_sums_of_whole_numbers_hold_and_no_others(a: int, b: int, sign: str) -> None:
    right = a + b if sign == "+" else a - b
    assert outcomes(f"${a} {sign} {b} = {right}$") == [("number", True)]
    assert outcomes(f"${a} {sign} {b} = {right + 1}$") == [("number", False)]


@given(st.text(alphabet="$x1()^{}/\\frac=&! ", max_size=60))
def test_any_text_is_read(text: str) -> None:
    for equation in find_equations(text):
        assert isinstance(equation, Equation)


@pytest.mark.parametrize("part", ["\\[", "\\begin{align}", "$", "$2 = ", "\\text{", "{", "$$1=1"])
def test_long_texts_take_linear_time(part: str) -> None:
    """A search for the end of a formula from each beginning would take hours for these."""
    assert all(isinstance(equation, Equation) for equation in find_equations(part * 50_000))
