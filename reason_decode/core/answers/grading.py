r"""Grading of solutions by their final answers, the same in votes, tasks, training and commands."""

from reason_decode.core.answers.compare import same_answer
from reason_decode.core.answers.extract import extract_answer

__all__ = ["none_right_message", "reference_answer", "states_answer"]

MAX_SHORT = 100


def states_answer(text: str, answer: str) -> bool:
    r"""True if a text states a final answer that equals ``answer``.

    ``same_answer(extract_answer(text), answer)``; False where the text states none.

    Args:
        text: a solution.
        answer: the reference answer, see ``reference_answer``.

    Examples:
        >>> states_answer("3 + 4 = 7\nThe answer is 7 apples.", "7")
        True
    """
    stated = extract_answer(text)
    return stated is not None and same_answer(stated, answer)


def reference_answer(given: str) -> str | None:
    r"""The final answer of a reference, which is the answer itself or a whole solution.

    Args:
        given: ``"42"``, GSM8K's ``"6 * 7 = 42\n#### 42"`` or MATH's solution with ``\boxed{42}``.

    Returns:
        The answer that ``given`` states, or else ``given`` itself; ``None`` where it states none
        and is longer than 100 characters, and so a solution without a final answer.

    Examples:
        >>> reference_answer("6 * 7 = 42\n#### 42"), reference_answer(" 42 ")
        ('42', '42')
    """
    stated = extract_answer(given)
    if stated is not None:
        return stated
    return given.strip() if len(given) <= MAX_SHORT else None


def none_right_message(count: int, text: str, answer: str) -> str:
    """The warning that none of some solutions is graded right, with one of them as an example.

    Args:
        count: number of the solutions.
        text: the solution of the example.
        answer: its reference answer.

    Examples:
        >>> print(none_right_message(8, "The answer is 7.", "seven"))
        none of 8 is graded right; the first states the answer '7', the reference is 'seven'
    """
    stated = extract_answer(text)
    said = "states no answer" if stated is None else f"states the answer {stated[:200]!r}"
    end = f" (it ends with {text[-80:]!r})" if stated is None else ""
    return (
        f"none of {count} is graded right; the first {said}{end}, the reference is {answer[:200]!r}"
    )
