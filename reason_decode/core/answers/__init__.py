r"""Final answers: reading them from a text, their exact value, and equality.

`extract_answer` finds the answer that a text states. `same_answer` compares two answers: what is
certain by itself (equal after harmless cleaning, two exact numbers, two words) is decided here, all
other mathematics by the library math-verify in a process with limits. Everything reads text that a
model wrote, so all of it is bounded in time and memory, and nothing is passed to ``eval``.
"""

from reason_decode.core.answers.arithmetic import evaluate, exact_value
from reason_decode.core.answers.compare import answer_value, same_answer, same_answers
from reason_decode.core.answers.extract import extract_answer
from reason_decode.core.answers.grading import (
    none_right_message,
    reference_answer,
    states_answer,
)

__all__ = [
    "answer_value",
    "evaluate",
    "exact_value",
    "extract_answer",
    "none_right_message",
    "reference_answer",
    "same_answer",
    "same_answers",
    "states_answer",
]
