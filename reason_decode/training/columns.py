r"""Reader of rows in no published format: its columns by their usual names, or as they are named.

Rows of questions with solutions, steps or samples; preference pairs; and conversations.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reason_decode.core.answers import reference_answer
from reason_decode.core.splitting import StepSplitter, splitter_for
from reason_decode.io.fields import Row
from reason_decode.tasks.questions import find_column
from reason_decode.training.cells import labels_in_cell, list_in_cell
from reason_decode.training.conversations import (
    as_prompt,
    labelled_turns,
    question_and_answer,
    read_messages,
)
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.prm800k import LeftOut
from reason_decode.training.step_labels import THRESHOLD, step_labels, verdict

__all__ = ["NO_COLUMNS", "SolutionColumns", "reference", "solutions_of_row"]

_QUESTIONS = ("question", "problem", "prompt", "input", "query", "instruction")
_SOLUTIONS = (
    *("solution", "steps", "completions", "chain_of_thoughts", "completion", "response", "output"),
    *("generation", "generated_solution", "samples", "generations", "responses"),
)
_ANSWERS = ("answer", "final_answer", "expected_answer", "ground_truth", "target")
_LABELS = ("labels", "label", "step_labels", "ratings")
_CORRECT = ("correct", "is_correct")
_CONVERSATIONS = ("messages", "conversations", "conversation")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K's notes beside each sum

Found = list[LabelledSolution | LeftOut]


@dataclass(frozen=True, kw_only=True)
class SolutionColumns:
    """The columns of a table of solutions; ``None``: the first of the usual names that there is.

    Args:
        question: column of the problems: question, problem, prompt, input, query or instruction.
        solution: column of the solutions, a text, its steps, or several samples: solution, steps,
            completions, response and the like; else the answer is the solution, as in GSM8K.
        answer: column of the reference answers: answer, final_answer, expected_answer,
            ground_truth or target.
        labels: column of the verdicts, one for each step, or one for the whole solution: labels,
            label, step_labels or ratings.
        subset: subset of a Hub dataset.
        split: split of a Hub dataset; ``None``: train.

    Examples:
        >>> SolutionColumns(question="q").labels is None
        True
    """

    question: str | None = None
    solution: str | None = None
    answer: str | None = None
    labels: str | None = None
    subset: str | None = None
    split: str | None = None

    @property
    def named(self) -> bool:
        """True if a column is named."""
        return any(x is not None for x in (self.question, self.solution, self.answer, self.labels))


NO_COLUMNS = SolutionColumns()


def solutions_of_row(
    row: Row,
    columns: SolutionColumns = NO_COLUMNS,
    *,
    separator: str = "\n",
    threshold: float = THRESHOLD,
) -> Found:
    r"""The solutions of a row, whose columns are found by their names.

    Args:
        row: a row of the table.
        columns: names of its columns.
        separator: text that ends a step of a solution that is one text.
        threshold: see ``step_labels``.

    Raises:
        ValueError: the row has no question or no solution, or holds something else in one of them.

    Examples:
        >>> solutions_of_row({"problem": "1 + 2?", "solution": "1 + 2 = 3", "answer": 3})[0].answer
        '3'
        >>> pair = {"prompt": "1 + 2?", "chosen": "3", "rejected": "4"}
        >>> [(x.steps, x.correct) for x in solutions_of_row(pair)]
        [(('3',), True), (('4',), False)]
    """
    splitter = splitter_for(separator)
    if columns.solution is None and {"chosen", "rejected"} <= set(row):
        return [_preferred(row, name, columns, splitter) for name in ("chosen", "rejected")]
    conversation = next((row[x] for x in _CONVERSATIONS if x in row), None)
    if conversation is not None and columns.question is None:
        turns = read_messages(list_in_cell(conversation, (dict,)))
        if (labelled := labelled_turns(turns)) is not None:
            return [labelled]
        prompt, solution = question_and_answer(turns)
    else:
        name, question = find_column(row, columns.question, _QUESTIONS, "question")
        prompt, solution = _prompt(name, question), None
    answer = reference(row, _named(row, columns.answer, _ANSWERS, "answer"))
    if solution is None:
        name = _named(row, columns.solution, _SOLUTIONS, "solution")
        if name is None:
            return [_reference_solution(row, prompt, columns, answer, splitter)]
        solution = row[name]
    labels = _named(row, columns.labels, _LABELS, "labels")
    given = None if labels is None else labels_in_cell(row[labels])
    name = next((x for x in _CORRECT if x in row), None)
    correct = None if name is None else labels_in_cell(row[name])
    solution = list_in_cell(solution, (str, dict))
    return _solutions(prompt, solution, answer, given, correct, splitter, threshold)


def _solutions(
    prompt: str,
    solution: Any,
    answer: str | None,
    labels: Any,
    correct: Any,
    splitter: StepSplitter,
    threshold: float,
) -> Found:
    """The solution of a row, or its samples."""
    if isinstance(solution, list) and solution and isinstance(solution[0], dict):
        solution = read_messages(solution)[-1]["content"]
    if isinstance(labels, list) or isinstance(solution, list) and labels is None:
        if isinstance(labels, list):
            steps = _texts(solution) if isinstance(solution, list) else _steps(solution, splitter)
            verdicts, soft = step_labels(labels, threshold)
            right = None if correct is None else verdict(correct) == 1
            return [LabelledSolution(prompt, steps, verdicts, answer, right, soft=soft)]
        return _samples(prompt, solution, answer, correct, splitter)
    if isinstance(solution, list):
        raise ValueError(
            f"got the label {labels!r:.40} of {len(solution)} steps; need a list of one label for "
            "each step"
        )
    if correct is None and labels is not None:
        (label,), _ = step_labels([labels], threshold)
        correct = None if label is None else label == 1
    right = None if correct is None else verdict(correct) == 1
    steps = _steps(solution, splitter)
    return [LabelledSolution(prompt, steps, (None,) * len(steps), answer, right)]


def _samples(
    prompt: str, texts: list[Any], answer: str | None, correct: Any, splitter: StepSplitter
) -> Found:
    """Several solutions of a problem, each with its verdict where there is a list of them."""
    if isinstance(correct, list) and len(correct) != len(texts):
        raise ValueError(f"got {len(correct)} verdicts of {len(texts)} samples; need one for each")
    verdicts = correct if isinstance(correct, list) else [correct] * len(texts)
    found: Found = []
    for sample, given in zip(texts, verdicts, strict=True):
        if not isinstance(sample, str) or not sample.strip():
            found.append(LeftOut("sample without text"))
            continue
        steps = _steps(sample, splitter)
        right = None if given is None else verdict(given) == 1
        found.append(LabelledSolution(prompt, steps, (None,) * len(steps), answer, right))
    return found


def _reference_solution(
    row: Row, prompt: str, columns: SolutionColumns, answer: str | None, splitter: StepSplitter
) -> LabelledSolution:
    """The answer of a row without a solution, which is right, as its solution."""
    if columns.solution is not None or answer is None:
        find_column(row, columns.solution, _SOLUTIONS, "solution")  # raises with the names
    given = str(row[_named(row, columns.answer, _ANSWERS, "answer") or ""])
    steps = _steps(_CALCULATOR.sub("", given), splitter)
    return LabelledSolution(prompt, steps, (None,) * len(steps), answer, True)


def _preferred(
    row: Row, name: str, columns: SolutionColumns, splitter: StepSplitter
) -> LabelledSolution:
    """The chosen solution of a preference pair, which is right, or the rejected one."""
    given = list_in_cell(row[name], (dict,))
    prompt = None
    if isinstance(given, list):
        turns = read_messages(given)
        given = turns[-1]["content"]
        prompt = as_prompt(turns[:-1]) if turns[:-1] else None
    if prompt is None:
        column, question = find_column(row, columns.question, _QUESTIONS, "question")
        prompt = _prompt(column, question)
    steps = _steps(given, splitter)
    return LabelledSolution(prompt, steps, (None,) * len(steps), correct=name == "chosen")


def _prompt(name: str, value: Any) -> str:
    value = list_in_cell(value, (dict,))
    if isinstance(value, list):
        return as_prompt(read_messages(value))
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"got {value!r:.60} as `{name}`; need the text of a problem")
    value.encode()
    return value


def reference(row: Row, name: str | None) -> str | None:
    r"""The final answer of a column that holds a text, a number, or a whole reference solution.

    Args:
        row: a row.
        name: the column; ``None`` if there is none.

    Raises:
        ValueError: it holds something else.

    Examples:
        >>> reference({"answer": 3}, "answer"), reference({"answer": "So 3.\n#### 3"}, "answer")
        ('3', '3')
    """
    value = None if name is None else row.get(name)
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, bool | int | float):
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"got {value!r:.60} as `{name}`; need text, a number or null")
    value.encode()
    return reference_answer(value)


def _named(row: Row, asked: str | None, names: Sequence[str], role: str) -> str | None:
    """The column that was asked for, else the first of the usual names; ``None`` if none is."""
    if asked is None and not {str(name).lower() for name in row} & set(names):
        return None
    return find_column(row, asked, names, role)[0]


def _steps(value: Any, splitter: StepSplitter) -> tuple[str, ...]:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"got {value!r:.60} as a solution; need text, or a list of steps")
    value.encode()
    return tuple(splitter.split(value))


def _texts(values: list[Any]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"got {value!r:.60} as a step; need text")
        value.encode()
    return tuple(values)
