"""Values of expressions at a point: what they call different is different."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_decode.core.answers.numeric import Value, compare_values, point_value

# A text and its exact value, or None for a division by zero.
Exact = tuple[str, Fraction | None]
LEAF = st.integers(0, 999).map(lambda n: (str(n), Fraction(n)))


def combined(parts: st.SearchStrategy[Exact]) -> st.SearchStrategy[Exact]:
    def join(sign: str, a: Exact, b: Exact) -> Exact:
        (x, p), (y, q) = a, b
        text = f"\\frac{{{x}}}{{{y}}}" if sign == "/" else f"({x}){sign}({y})"
        if p is None or q is None or sign == "/" and q == 0:
            return text, None
        return (
            text,
            p / q if sign == "/" else p * q if sign == "" else p + q if sign == "+" else p - q,
        )

    return st.builds(join, st.sampled_from(["+", "-", "", "/"]), parts, parts)


EXACT = st.recursive(LEAF, combined, max_leaves=8)


@given(EXACT)
def test_a_value_is_within_its_error_of_the_exact_one(expression: Exact) -> None:
    text, exact = expression
    value = point_value(text)
    if value is not None:
        assert exact is not None and value.constant
        distance = abs(Fraction(value.number.real) - exact)
        assert value.number.imag == 0 and distance <= Fraction(value.error)


@given(EXACT, EXACT)
def test_only_different_values_are_told_apart(first: Exact, second: Exact) -> None:
    a, b = point_value(first[0]), point_value(second[0])
    if a is not None and b is not None:
        decided = compare_values(a, b)
        assert decided is None or decided is False and first[1] != second[1]
        assert decided == compare_values(b, a)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"2\sqrt{3}", 2 * math.sqrt(3)),
        (r"\sqrt[3]{8}", 2),
        (r"\sqrt{-4}", 2j),
        (r"-2^{2}", -4),
        (r"2^{-1}", 0.5),
        (r"\frac{1}{2}\pi", math.pi / 2),
        (r"3+2i", 3 + 2j),
        (r"6\sqrt{3}/4", 1.5 * math.sqrt(3)),
        (r"10 \cdot 2", 20),
    ],
)
def test_constants_have_their_values(text: str, value: complex) -> None:
    found = point_value(text)
    assert found is not None and abs(found.number - value) <= found.error


@pytest.mark.parametrize(
    "text",
    ["", "1/0", "3\\frac{1}{2}", "4 5", "1/2x", "x^12", "2^3^2", "\\sqrt[3]{-8}", "(-8)^{1/3}"]
    + [
        "|x|",
        "x=3",
        "110_2",
        "f'",
        "log(2)",
        "\\sin x",
        "1,2",
        "(1",
        "1)",
        "x_",
        "10^{300}",
        "\ud800",
    ]
    + ["(" * 50 + "1" + ")" * 50, "1+" * 200 + "1", "9^{9^{9}}", "x_{1", "\\frac{1}"],
)
def test_what_has_no_clear_value_has_none(text: str) -> None:
    assert point_value(text) is None


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        ("x+y", "y+x", False),
        ("(x+1)^{2}", "x^2+2x+1", False),
        ("\\sqrt{8}", "2\\sqrt{2}", False),
        ("x", "y", True),
        ("R", "r", True),
        ("x_1", "x_{2}", True),
        ("\\frac{1}{3^{50}}", "\\frac{1}{3^{51}}", True),
        ("10^{15}+\\sqrt{2}-10^{15}", "\\sqrt{2}", False),
    ],
)
def test_letters_have_points_of_their_own_and_rounding_is_bounded(
    a: str, b: str, differ: bool
) -> None:
    first, second = point_value(a), point_value(b)
    assert first is not None and second is not None
    assert compare_values(first, second) is (False if differ else None)


def test_a_tolerance_makes_close_constants_equal() -> None:
    a, b = Value(1 + 0j, 0.0, True), Value(1.001 + 0j, 0.0, True)
    assert compare_values(a, b) is False
    assert compare_values(a, b, 0.01) is True and compare_values(a, b, 1e-4) is False
    assert compare_values(a, b._replace(constant=False), 0.01) is False
