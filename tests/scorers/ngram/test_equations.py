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
def test_what_is_written_is_computed_as_it_is_read(side: str, found: float) -> None:
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
def test_what_cannot_be_computed_is_refused_at_once(side: str) -> None:
    with pytest.raises(ValueError, match="cannot be computed"):
        evaluate_expression(side)


def test_letters_are_what_one_says_or_anything() -> None:
    assert evaluate_expression("2x + y", {"x": 3, "y": 1}) == 7
    assert evaluate_expression("x", 1) == evaluate_expression("x", 1) != evaluate_expression("x", 2)
    with pytest.raises(ValueError, match="cannot be computed"):
        evaluate_expression("2x", {"y": 1})


def told(text: str) -> list[tuple[str, bool]]:
    return [(x.kind, x.holds) for x in find_equations(text)]


def test_numbers_hold_or_fail() -> None:
    assert told("It costs \\[ much, \\[1 = 2\\].") == [("number", False)]
    assert told("So $2 + 3 = 5 = 6$ and \\[7 = 7.\\]") == [
        ("number", True),
        ("number", False),
        ("number", True),
    ]
    (rounded,) = find_equations("$\\frac{22}{7} \\approx 3.14$")
    assert rounded == Equation("number", holds=False, near=True, rounded=True)


def test_a_rearrangement_holds_for_any_letters_also_line_by_line() -> None:
    lines = "(x + 1)^2 &= x^2 + 2x + 1 \\\\ &= x(x + 2) + 1 \\\\ &= x^2 + 3x"
    text = "\\begin{align*}" + lines + "\\end{align*}"
    assert told(text) == [("stated", True), ("rearranged", True), ("rearranged", False)]


def test_equations_are_asked_of_the_number_that_their_letter_is_said_to_be() -> None:
    assert told("$2x = 6$, so $x = 3$")[-1] == ("solved", True)
    assert told("$2x = 6$, so $x = 4$")[-1] == ("solved", False)
    # Of two solutions neither is the one that is meant.
    assert "solved" not in dict(told("$x^2 = 4$: $x = 2$ or $x = -2$"))


def test_what_is_no_equation_of_this_kind_is_left_out() -> None:
    assert told("$7 \\equiv 2 \\pmod{5}$, $1 < 2$, $x \\in A$, 2 = 3, $f_1 = 2$") == []


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-"))
def test_sums_of_whole_numbers_hold_and_no_others(a: int, b: int, sign: str) -> None:
    right = a + b if sign == "+" else a - b
    assert told(f"${a} {sign} {b} = {right}$") == [("number", True)]
    assert told(f"${a} {sign} {b} = {right + 1}$") == [("number", False)]


@given(st.text(alphabet="$x1()^{}/\\frac=&! ", max_size=60))
def test_any_text_is_read(text: str) -> None:
    for equation in find_equations(text):
        assert isinstance(equation, Equation)


@pytest.mark.parametrize("part", ["\\[", "\\begin{align}", "$", "$2 = ", "\\text{", "{", "$$1=1"])
def test_long_texts_are_read_once(part: str) -> None:
    """A search for the end of a formula from each beginning would take hours for these."""
    assert all(isinstance(equation, Equation) for equation in find_equations(part * 50_000))
