"""The program of test_fuzz_answers.py: hostile answers, each within a bound of time and memory.

A process of its own, without torch, so that its limits are those of reading answers alone. Prints
one JSON line a case: its name, the seconds that it took, and what was found.
"""

import json
import random
import resource
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE, MEMORY = sys.argv[1], 2 * 2**30
# What asks for more fails with a MemoryError here, and in math-verify's process, which inherits it.
resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
# The package without its __init__, which would import torch.
package = types.ModuleType("reason_decode")
package.__path__ = [PACKAGE]
sys.modules["reason_decode"] = package

from reason_decode.core.answers import extract_answer, math_verify, same_answer  # noqa: E402

# What overruns this overruns the default of 1.5 seconds as well.
math_verify.CPU_SECONDS = 0.5

MILLION = 10**6
# Texts to read an answer from, and to compare with another.
LONG = {
    "open braces": "{" * 10**5,
    "nested braces": "{" * 10**5 + "}" * 10**5,
    "nested boxes": "\\boxed{" * 10**5 + "1" + "}" * 10**5,
    "boxes that stay open": "\\boxed{" * 10**5,
    "nested fractions": "\\frac{1}{" * 10**5 + "1" + "}" * 10**5,
    "nested parentheses": "#### " + "(" * 10**5 + "1" + ")" * 10**5,
    "a number of a million digits": "#### " + "9" * MILLION,
    "thousands of thousands": "#### 1" + ",000" * 10**5,
    "nearly thousands": "#### 1" + ",000" * 10**5 + "x",
    "signs": "#### " + "-" * MILLION + "1",
    "a sum of a million ones": "#### " + "1+" * MILLION + "1",
    "equal signs": "Answer: " + "=" * MILLION,
    "statements": "the answer is " * 10**5,
    "statements without an answer": "####\n" * 10**5,
    "answer lines": "Answer:\n" * 10**5 + "Answer: 1",
    "asterisks": "*" * MILLION + "answer:",
    "spaces before a line": (" " * 1000 + "\n") * 1000 + "final answer",
    "sentences": "the answer is 1" + ". " * MILLION,
    "combining marks": "#### e" + "\u0301" * 10**5,
    "letters that grow in lower case": "#### " + "ΐ" * 10**5,
    "bidirectional marks": "#### " + "\u202e1\u202c" * 10**5,
    "zeros": "\x00" * MILLION,
    "lone surrogates": "#### " + "\ud800" * 10**5,
    "dollars": "#### " + "$" * MILLION,
    "a matrix of 10,000 cells": "\\boxed{\\begin{pmatrix}" + "1&" * 10**4 + "\\end{pmatrix}}",
}
# Short enough for math-verify, and compared by it.
SHORT = {
    "a tower of powers": "9^{9^{9^{9}}}",
    "a tower without braces": "9^9^9^9\\!",
    "ten to ten to ten": "10^{10^{10}}+\\frac{1}{2}",
    "a power of many digits": "(" + "9" * 40 + ")^{" + "9" * 40 + "}\\cdot 1",
    "a factorial": "100000!\\cdot 1",
    "factorials of factorials": "((9!)!)!\\cdot 1",
    "a binomial": "\\binom{10^{9}}{5\\cdot 10^{8}}",
    "a sum without end": "\\sum_{n=1}^{10^{9}} \\frac{1}{n^{2}}",
    "a product": "\\prod_{n=1}^{10^{6}} n",
    "an integral": "\\int_0^1 x^{x^{x}} \\, dx",
    "a limit": "\\lim_{x \\to 0} \\frac{\\sin(x^{99})}{x^{99}}",
    "a macro of itself": "\\def\\a{\\a\\a}\\a",
    "a macro that doubles": "\\newcommand{\\b}{\\b\\b}\\b",
    "a file": "\\input{/etc/passwd}",
    "a program": "\\write18{touch /tmp/x}",
    "roots of roots": "\\sqrt{" * 40 + "2" + "}" * 40,
    "fractions of fractions": "\\frac{1}{" * 30 + "2" + "}" * 30,
    "left and right": "\\left(" * 45,
    "a matrix": "\\begin{pmatrix}" + "1&" * 90 + "1\\end{pmatrix}",
    "an interval of towers": "[9^{9^{9}}, \\infty)",
    "Python": "\\text{__import__('os').system('true')}",
    "a set of many": "\\{" + ",".join(map(str, range(80))) + "\\}",
    "scripts": "x_{x_{x_{x_{x_{x_{1}}}}}}^{x^{x^{x^{x}}}}",
    "digits of another script": "\\frac{١}{٢}",
}


def cases() -> Iterator[tuple[str, str, str]]:
    """Name, text and what its answer is compared with."""
    for name, text in LONG.items():
        yield name, text, "1"
        yield f"{name}, in a box", f"\\boxed{{{text}}}", text
    for name, text in SHORT.items():
        yield name, f"\\boxed{{{text}}}", "\\frac{1}{2}"
    pieces = ["\\frac", "\\boxed{", "{", "}", "^", "_", "9", "!", "\\sqrt", "(", ")", "\\left", "="]
    pieces += ["\\text{", "\\def", "\\a", "&", "\\\\", "\\begin{matrix}", "\\end{matrix}", ",", "x"]
    rng = random.Random(0)
    for k in range(40):
        text = "".join(rng.choices(pieces, k=rng.randrange(1, 30)))
        yield f"pieces {k}", f"\\boxed{{{text}}}", "".join(rng.sample(text, len(text)))


def check(case: tuple[str, str, str]) -> dict[str, object]:
    """The row of a case."""
    name, text, other = case
    start = time.thread_time()
    answer = extract_answer(text)
    same = same_answer(answer if answer is not None else text, other)
    alike = answer is None or same_answer(answer, answer)
    return {"name": name, "seconds": time.thread_time() - start, "same": same, "alike": alike}


def main() -> None:
    """Run all cases, as many at a time as math-verify may have processes."""
    with ThreadPoolExecutor(math_verify.WORKERS) as pool:
        for row in pool.map(check, cases()):
            print(json.dumps(row), flush=True)
    # getrusage's peak is no use here: it begins with that of the process that started this one.
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    peak = int(line.split()[1]) * 1024
    # After all of that it still compares; and within these limits it can.
    works = same_answer("\\sqrt{8}", "2\\sqrt{2}")
    print(json.dumps({"peak": peak, "cases": len(list(cases())), "works": works}))


if __name__ == "__main__":
    main()
