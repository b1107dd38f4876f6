"""The process that compares LaTeX answers: its limits, and life after one of them is met."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from reason_decode.core import latex

pytestmark = pytest.mark.skipif(
    find_spec("math_verify") is None, reason="the extra `answers` (math-verify) is not installed"
)


def test_a_runaway_comparison_is_ended_and_the_next_one_answered(monkeypatch: pytest.MonkeyPatch):
    assert latex.same_latex(r"\frac{2}{4}", r"\frac{1}{2}")
    monkeypatch.setattr(latex, "SECONDS", 0.5)
    assert not latex.same_latex("9^{9^{9^{9}}}", "9^{9^{9^{8}}}")
    monkeypatch.undo()
    assert latex.same_latex(r"\frac{2}{4}", r"\frac{1}{2}")


def test_it_works_from_any_thread():
    with ThreadPoolExecutor(4) as pool:
        same = pool.map(latex.same_latex, [rf"\frac{{{i}}}{{4}}" for i in range(8)], ["1/2"] * 8)
    assert list(same) == [i == 2 for i in range(8)]


def test_text_that_is_no_latex_is_only_different():
    assert not latex.same_latex("\\frac{", "\ud800\n}")
    assert not latex.same_latex("x" * 301, "x" * 301)
