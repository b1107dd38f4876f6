"""Answers that were written to cost time and memory cost neither; see fuzz_answers.py."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import reason_decode
from reason_decode.core.answers import answer_value, clean, math_verify, same_answer

PROGRAM = Path(__file__).parent / "fuzz_answers.py"
PACKAGE = Path(reason_decode.__file__).parent

pytestmark = pytest.mark.skipif(
    find_spec("math_verify") is None or sys.platform != "linux",
    reason="needs math-verify, and limits of Linux",
)


@pytest.mark.slow
def test_every_hostile_answer_is_read_and_compared_within_its_bounds():
    # The program holds itself to 2 GiB and each comparison to a second on the clock; counted
    # here is the processor's time, which a busy machine does not change.
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(PACKAGE)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert len(rows) == last["cases"] > 100
    assert [row["name"] for row in rows if row["seconds"] > 2.0] == []
    assert [row["name"] for row in rows if not row["alike"]] == []
    same = [row["name"] for row in rows if row["same"]]
    assert "a tower of powers" not in same and "a macro of itself" not in same
    # Of our own process; math-verify's has a limit of its own.
    assert last["peak"] < 2**28 and last["works"]


def test_an_answer_that_overruns_twice_is_compared_no_more(monkeypatch: pytest.MonkeyPatch):
    # Regression: a vote of 64 such answers compared each with each, 5 seconds at a time: hours.
    asked: list[str] = []

    def overruns(worker: object, question: str, seconds: float) -> str:
        asked.append(question)
        return ""

    pool = math_verify._Pool()
    monkeypatch.setattr(math_verify, "_pool", pool)
    monkeypatch.setattr(math_verify._Worker, "__init__", lambda worker: None)
    monkeypatch.setattr(math_verify._Worker, "alive", True)
    monkeypatch.setattr(math_verify._Worker, "stop", lambda worker: None)
    monkeypatch.setattr(math_verify._Worker, "ask", overruns)
    tower = "9^{9^{9^{%d}}}"
    for a in range(20):
        for b in range(a):
            assert not math_verify.same_latex(tower % a, tower % b)
    assert len(asked) <= 20
    for k in range(2 * math_verify.REMEMBERED):
        math_verify.same_latex(f"x_{{{k}}}", f"y_{{{k}}}")
    assert len(pool.overruns) <= math_verify.REMEMBERED


def test_an_answer_of_a_megabyte_is_not_remembered():
    # Regression: thousands of the longest answers were kept, with their values, in caches.
    before = clean._cleaned.cache_info().currsize
    assert same_answer("1" * 10**6, " " + "1" * 10**6) and answer_value("1" * 10**6) is None
    assert clean._cleaned.cache_info().currsize == before
    assert same_answer(" " * 1000 + "5", "5.0")
