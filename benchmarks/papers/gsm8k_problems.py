"""GSM8K's problems, and documents with its sub-questions as rationales."""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from reason_decode.io.jsonl import read_jsonl
from reason_decode.mining import AnnotatedDocument

_ANNOTATION = re.compile(r"<<.*?>>")


class WordProblem(NamedTuple):
    """A question, its steps, and the sub-question of each step (none in train.jsonl)."""

    question: str
    steps: tuple[str, ...]
    sub_questions: tuple[str, ...] = ()


def read_problems(path: Path) -> list[WordProblem]:
    """The problems of a GSM8K file, without its ``<<...>>`` annotations.

    Raises:
        ValueError: a line is malformed.
    """
    rows, rejected = read_jsonl(path)
    if rejected:
        raise ValueError(f"{path} has {len(rejected)} malformed lines, first {rejected[0]}")
    problems = []
    for _, row in rows:
        *lines, last = _ANNOTATION.sub("", row["answer"]).split("\n")
        parts = [line.split(" ** ", 1) for line in lines if line.strip()]
        sub_questions = tuple(part[0].strip() for part in parts if len(part) == 2)
        steps = (*(part[-1].strip() for part in parts), last.strip())
        problems.append(WordProblem(row["question"].strip(), steps, sub_questions))
    return problems


def to_document(number: int, problem: WordProblem, questions: Sequence[str]) -> AnnotatedDocument:
    """A problem with a question before each step, as its rationale."""
    lines = [f"{step}\n" for step in problem.steps[:-1]]
    return AnnotatedDocument(
        str(number), "gsm8k", (f"{problem.question}\n", *lines), tuple(questions)
    )


def foreign_questions(problems: Sequence[WordProblem], own: int, rng: random.Random) -> list[str]:
    """Random sub-questions of other problems, as many as problem ``own`` has."""
    chosen = []
    for _ in problems[own].sub_questions:
        other = rng.randrange(len(problems) - 1)
        chosen.append(rng.choice(problems[other + (other >= own)].sub_questions))
    return chosen
