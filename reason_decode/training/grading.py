"""Solutions graded by their answers: right samples, wrong samples, and the counts of both."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reason_decode.core.answers import (
    extract_answer,
    none_right_message,
    same_answers,
    states_answer,
)
from reason_decode.training.labelled import LabelledSolution

__all__ = ["GradeCounts", "Graded", "grade_samples", "is_right", "warn_of_none_right"]


@dataclass
class GradeCounts:
    """Counts of graded samples.

    Args:
        problems: different prompts.
        samples: all samples.
        right: samples whose answer is the reference answer.
        wrong: samples with another answer.
        duplicates: samples left out because the prompt had the same text before.
        unanswered: samples that state no answer; left out, or counted as wrong.
        ungraded: samples left out because the reference answer is unknown.
        mixed: problems with both right and wrong samples.

    Examples:
        >>> from reason_decode.training import GradeCounts
        >>> print(GradeCounts(problems=2, samples=4, right=1, wrong=1, duplicates=1, unanswered=1))
        4 samples of 2 problems: 1 right, 1 wrong, 1 duplicates, 1 unanswered, 0 ungraded; 0 mixed
    """

    problems: int = 0
    samples: int = 0
    right: int = 0
    wrong: int = 0
    duplicates: int = 0
    unanswered: int = 0
    ungraded: int = 0
    mixed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.samples} samples of {self.problems} problems: {self.right} right, {self.wrong} "
            f"wrong, {self.duplicates} duplicates, {self.unanswered} unanswered, {self.ungraded} "
            f"ungraded; {self.mixed} mixed"
        )


class Graded(NamedTuple):
    """Samples with right answers, samples with wrong answers, and the counts."""

    right: list[LabelledSolution]
    wrong: list[LabelledSolution]
    counts: GradeCounts


def grade_samples(
    solutions: Iterable[LabelledSolution], *, unanswered_wrong: bool = False
) -> Graded:
    r"""Sort samples into right ones (D_pos) and wrong ones (D_neg), without duplicates.

    A sample is right if ``same_answer(extract_answer(sample), answer)``. Comparing strings instead
    would take 2,777 right answers of the paper's published GPT-4 samples for wrong ones.

    Args:
        solutions: samples with ``correct``, or else with ``answer``.
        unanswered_wrong: count samples that state no answer as wrong, as the paper's code does; by
            default they are left out, for they may have been cut off before their answer.

    Raises:
        ImportError: answers hold LaTeX that needs math-verify, and it is not installed.

    Source: Li et al. 2024, 2312.12832, section 3.1; Yiwei98/TDG at ca86f56, code/dataset.py, lines
    112 to 158, which compares normalized strings of boxes.

    Examples:
        >>> from reason_decode.training import LabelledSolution, grade_samples
        >>> texts = ("So \\boxed{1/2}", "So \\boxed{0.5}", "So \\boxed{2}", "So \\boxed{2}", "So")
        >>> samples = [LabelledSolution("1/4 * 2 =", (x,), (None,), answer="0.5") for x in texts]
        >>> right, wrong, counts = grade_samples(samples)
        >>> len(right), len(wrong), counts.duplicates, counts.unanswered
        (2, 1, 1, 1)
    """
    counts = GradeCounts()
    kept: list[LabelledSolution] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    prompts: set[str] = set()
    for solution in solutions:
        counts.samples += 1
        prompts.add(solution.prompt)
        if (solution.prompt, solution.steps) in seen:
            counts.duplicates += 1
            continue
        seen.add((solution.prompt, solution.steps))
        kept.append(solution)
    right: list[LabelledSolution] = []
    wrong: list[LabelledSolution] = []
    for solution, verdict in zip(kept, _verdicts(kept), strict=True):
        counts.ungraded += verdict == "ungraded"
        counts.unanswered += verdict == "unanswered"
        if verdict == "right":
            right.append(solution)
        elif verdict == "wrong" or verdict == "unanswered" and unanswered_wrong:
            wrong.append(solution)
    counts.problems, counts.right, counts.wrong = len(prompts), len(right), len(wrong)
    counts.mixed = len({x.prompt for x in right} & {x.prompt for x in wrong})
    if not right:
        warn_of_none_right(kept)
    return Graded(right, wrong, counts)


def _verdicts(solutions: Sequence[LabelledSolution]) -> list[str]:
    """``right``, ``wrong``, ``unanswered`` or ``ungraded`` of each solution."""
    verdicts: list[str] = []
    pairs: dict[int, tuple[str, str]] = {}
    for k, solution in enumerate(solutions):
        if solution.correct is not None:
            verdicts.append("right" if solution.correct else "wrong")
        elif solution.answer is None:
            verdicts.append("ungraded")
        elif (stated := extract_answer("\n".join(solution.steps))) is None:
            verdicts.append("unanswered")
        else:
            pairs[k] = stated, solution.answer
            verdicts.append("wrong")
    # Together, on all processes that math-verify may have.
    for k, same in zip(pairs, same_answers([*pairs.values()]), strict=True):
        verdicts[k] = "right" if same else "wrong"
    return verdicts


def warn_of_none_right(solutions: Sequence[LabelledSolution]) -> None:
    """Log a warning about solutions that are all wrong, if answers were compared to find that.

    Args:
        solutions: solutions, none of which is right.
    """
    compared = [x for x in solutions if x.correct is None and x.answer is not None]
    if compared:
        texts = ["\n".join(x.steps) for x in compared]
        # One that states an answer says more.
        k = next((k for k, text in enumerate(texts) if extract_answer(text) is not None), 0)
        message = none_right_message(len(solutions), texts[k], compared[k].answer or "")
        logging.getLogger(__name__).warning("%s: %s", compared[k].source or "samples", message)


def is_right(solution: LabelledSolution) -> bool | None:
    """True if a solution's answer is right: by ``correct``, else by the reference answer.

    Args:
        solution: a solution.

    Returns:
        ``None`` if the solution has neither ``correct`` nor a reference answer.

    Examples:
        >>> from reason_decode.training import LabelledSolution, is_right
        >>> is_right(LabelledSolution("1 + 1 =", ("1 + 1 = 3",), (None,), answer="2"))
        False
    """
    if solution.correct is not None or solution.answer is None:
        return solution.correct
    return states_answer("\n".join(solution.steps), solution.answer)
