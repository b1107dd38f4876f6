"""Mathematics: GSM8K's word problems, MATH-500's competition problems, and AIME."""

from reason_decode.tasks.base import Example, Task
from reason_decode.tasks.questions import Columns, question_item, question_task

__all__ = ["aime_task", "gsm8k_task", "math_task"]

# Our own problems, which are in no benchmark.
_WORD_PROBLEMS = (
    (
        "A school library has 5 shelves with 24 books each. It gives away 35 books and buys 3 "
        "boxes of 12 books. How many books does it have then?",
        "The shelves hold 5 * 24 = 120 books.\nAfter the gift 120 - 35 = 85 books are left.\n"
        "The boxes hold 3 * 12 = 36 books.\nSo the library has 85 + 36 = 121 books.",
        "121",
    ),
    (
        "Mara runs 4 laps of 400 metres on each of 3 days a week. How many kilometres does she run "
        "in 5 weeks?",
        "In a day she runs 4 * 400 = 1600 metres.\nIn a week she runs 3 * 1600 = 4800 metres.\n"
        "In 5 weeks she runs 5 * 4800 = 24000 metres, which is 24 kilometres.",
        "24",
    ),
    (
        "A jacket costs $80. In a sale it is 25% off, and a coupon takes another $6 off. Two "
        "sisters share the price equally. How many dollars does each of them pay?",
        "The sale takes off 80 * 0.25 = 20 dollars, which leaves 80 - 20 = 60 dollars.\n"
        "With the coupon the jacket costs 60 - 6 = 54 dollars.\n"
        "Each sister pays 54 / 2 = 27 dollars.",
        "27",
    ),
    (
        "Tom has 3 times as many stamps as Lea, and together they have 96. Tom gives Lea 10 of his "
        "stamps. How many stamps does Lea have now?",
        "Lea has 1 part of 3 + 1 = 4 equal parts.\nA part is 96 / 4 = 24 stamps.\n"
        "With Tom's 10 she has 24 + 10 = 34 stamps.",
        "34",
    ),
)


def gsm8k_task(columns: Columns | None = None) -> Task:
    """Word problems of school arithmetic; rows ``{"question", "answer"}`` that end in ``#### 18``.

    Source: Cobbe et al. 2021, 2110.14168; the files as published, or openai/gsm8k of the Hub.
    """
    row = ({"question": q, "answer": f"{work}\n#### {x}"} for q, work, x in _WORD_PROBLEMS)
    items = [question_item(x, k, Columns()) for k, x in enumerate(row)]
    examples = [Example(item, item.extra["solution"]) for item in items]
    return question_task("gsm8k", columns, max_new_tokens=512, examples=examples)


def math_task(columns: Columns | None = None) -> Task:
    r"""Competition problems; rows ``{"problem", "answer"}``, or ``solution`` with a box.

    Source: Hendrycks et al. 2021, 2103.03874; MATH-500 of Lightman et al. 2023, 2305.20050.
    """
    return question_task("math", columns, max_new_tokens=2048)


def aime_task(columns: Columns | None = None) -> Task:
    """Problems of the American Invitational Mathematics Examination; answers from 0 to 999.

    Rows are ``{"problem", "answer"}``.
    """
    return question_task("aime", columns, max_new_tokens=4096)
