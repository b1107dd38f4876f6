r"""Readers of published dataset formats of labelled solutions: row -> the solutions in it.

Each reader raises ``ValueError`` with the reason if the row is malformed. PRM800K, whose rows are
trees, has its own file.
"""

from reason_decode.core.answers import same_answer
from reason_decode.core.splitting import splitter_for
from reason_decode.io.fields import Row, boolean, index, items, text, texts
from reason_decode.training.columns import reference
from reason_decode.training.conversations import prompt_end
from reason_decode.training.labelled import Label, LabelledSolution
from reason_decode.training.prm800k import LeftOut
from reason_decode.training.step_labels import THRESHOLD, step_labels

__all__ = ["bigbench_mistake", "math_shepherd", "plain", "processbench", "samples", "stepwise"]


def stepwise(row: Row, *, threshold: float = THRESHOLD) -> list[LabelledSolution]:
    """Read a row ``{"prompt", "completions", "labels"}``.

    ``answer`` (see ``plain``) and ``correct`` are optional. Labels are those of ``step_labels``: 0
    is wrong, not neutral, and numbers between 0 and 1 are probabilities.

    Args:
        row: a row of the file.
        threshold: probability above which a step is right.

    Raises:
        ValueError: the row is malformed.

    Source: TRL's dataset type "stepwise supervision"; trl-lib/math_shepherd, trl-lib/prm800k.

    Examples:
        >>> stepwise({"prompt": "p", "completions": ["a", "b"], "labels": [True, False]})[0].labels
        (1, -1)
    """
    labels, soft = step_labels(items(row, "labels"), threshold, signed=False)
    return [
        LabelledSolution(
            text(row, "prompt"),
            texts(row, "completions"),
            labels,
            reference(row, "answer"),
            boolean(row, "correct"),
            soft=soft,
        )
    ]


def math_shepherd(row: Row) -> list[LabelledSolution]:
    """Read a row ``{"input", "label", "task"}``: the same text with tags and with verdicts.

    ``input`` has the tag "ки" where ``label`` has ``+`` or ``-``. The prompt ends at the last
    "Step 1:" before a tag; tags inside the prompt, which some rows have, belong to no step. Without
    any "Step 1:" the prompt ends at its only question mark. Text after the last tag is an
    unlabelled step. The last verdict says whether the answer is right, since rollouts from there
    have nothing left to sample.

    Args:
        row: a row of the file.

    Raises:
        ValueError: the row is malformed: the two texts differ, or the prompt's end is unclear.

    Source: Wang et al. 2023, 2312.08935; peiyi9979/Math-Shepherd.

    Examples:
        >>> text = "1 + 2 + 3? Step 1: 1 + 2 = 3 {} Step 2: The answer is: 7 {}"
        >>> row = {"input": text.format("ки", "ки"), "label": text.format("+", "-")}
        >>> math_shepherd(row)[0].steps, math_shepherd(row)[0].labels
        (('Step 1: 1 + 2 = 3', 'Step 2: The answer is: 7'), (1, -1))
    """
    *pieces, rest = text(row, "input").split("ки")
    if not pieces:
        raise ValueError("got no tag ки in `input`; need one after each step")
    verdicts = text(row, "label")
    labels: list[Label] = []
    at = 0
    for piece in pieces:
        same = verdicts.startswith(piece, at)
        at += len(piece)
        if not same or verdicts[at : at + 1] not in ("+", "-"):
            raise ValueError(
                f"`label` is not `input` with + or - for every ки: they differ before tag "
                f"{len(labels) + 1}"
            )
        labels.append(1 if verdicts[at] == "+" else -1)
        at += 1
    correct = labels[-1] == 1 if not rest.strip() else None
    if rest.strip():
        pieces, labels = [*pieces, rest], [*labels, None]
    first, end = prompt_end(pieces)
    prompt = "".join([*pieces[:first], pieces[first][:end]]).strip()
    steps = [pieces[first][end:], *pieces[first + 1 :]]
    return [
        LabelledSolution(
            text({"input": prompt}, "input"),
            tuple(step.strip() for step in steps),
            tuple(labels[first:]),
            correct=correct,
        )
    ]


def processbench(row: Row) -> list[LabelledSolution]:
    """Read a row ``{"id", "generator", "problem", "steps", "final_answer_correct", "label"}``.

    ``label`` is the index of the first wrong step, or -1 if all are right.

    Args:
        row: a row of the file.

    Raises:
        ValueError: the row is malformed.

    Source: Zheng et al. 2024, 2412.06559; Qwen/ProcessBench.

    Examples:
        >>> row = {"id": "gsm8k-0", "problem": "p", "steps": ["a", "b", "c"], "label": 1,
        ...     "final_answer_correct": False}
        >>> processbench(row)[0].labels, processbench({**row, "label": -1})[0].labels
        ((1, -1, None), (1, 1, 1))
    """
    steps = texts(row, "steps")
    right = row.get("label") == -1
    return [
        LabelledSolution(
            text(row, "problem"),
            steps,
            _labels(len(steps), None if right else index(row, "label", len(steps))),
            correct=boolean(row, "final_answer_correct"),
            source="" if row.get("id") is None else str(row["id"]),
        )
    ]


def bigbench_mistake(row: Row) -> list[LabelledSolution]:
    """Read a row ``{"input", "steps", "answer", "target", "mistake_index"}``.

    ``mistake_index`` is the index of the first wrong step, or null if all are right. The answer is
    right if it is the ``same_answer`` as the target; a missing answer is wrong.

    Args:
        row: a row of the file.

    Raises:
        ValueError: the row is malformed.

    Source: Tyen et al. 2023, 2311.08516; WHGTyen/BIG-Bench-Mistake.

    Examples:
        >>> row = {"input": "1 + 2 + 3 =", "steps": ["1 + 2 = 3", "3 + 3 = 7"], "answer": "7",
        ...     "target": "6", "mistake_index": 1}
        >>> bigbench_mistake(row)[0].labels, bigbench_mistake(row)[0].correct
        ((1, -1), False)
    """
    if "mistake_index" not in row:
        raise ValueError("got no `mistake_index`; need null or the index of the first wrong step")
    steps, target = texts(row, "steps"), str(row.get("target") or "")
    if not isinstance(row.get("target"), str | int | float) or not target.strip():
        raise ValueError(f"got {row.get('target')!r:.60} as `target`; need text or a number")
    right = row["mistake_index"] is None
    given = "" if row.get("answer") is None else str(row["answer"]).strip()
    return [
        LabelledSolution(
            text(row, "input"),
            steps,
            _labels(len(steps), None if right else index(row, "mistake_index", len(steps))),
            target,
            bool(given) and same_answer(given, target),
        )
    ]


def plain(row: Row, *, separator: str = "\n") -> list[LabelledSolution]:
    r"""Read a row ``{"prompt", "solution", "answer"}``, optionally with ``correct``; no labels.

    The answer may be a whole reference solution, as GSM8K has it, whose final answer is extracted.

    Args:
        row: a row of the file.
        separator: text that ends a step of the solution.

    Raises:
        ValueError: the row is malformed.

    Examples:
        >>> row = {"prompt": "1 + 2 + 3 =", "solution": "1 + 2 = 3\n3 + 3 = 6", "answer": "6"}
        >>> plain(row)[0].steps, plain(row)[0].labels
        (('1 + 2 = 3', '3 + 3 = 6'), (None, None))
    """
    steps = tuple(splitter_for(separator).split(text(row, "solution")))
    return [
        LabelledSolution(
            text(row, "prompt"),
            steps,
            (None,) * len(steps),
            reference(row, "answer"),
            boolean(row, "correct"),
        )
    ]


def samples(row: Row, *, separator: str = "\n") -> list[LabelledSolution | LeftOut]:
    r"""Read a row ``{"prompt", "samples", "answer"}``: several solutions of a problem; no labels.

    Also ``{"question", "generated_answer", "answer"}``, as Turning Dust into Gold published them.
    The answer may be a whole reference solution, whose final answer is extracted.

    Args:
        row: a row of the file.
        separator: text that ends a step of a sample.

    Raises:
        ValueError: the row is malformed. A sample that is blank or not text is only left out.

    Source: Yiwei98/TDG at ca86f56, GPT3.5-turbo-MATH and GPT4-MATH.

    Examples:
        >>> row = {"prompt": "1 + 2 =", "samples": ["3", "1 + 1 = 2\nThe answer is 2."],
        ...     "answer": "So it is \\boxed{3}."}
        >>> [getattr(solution, "steps") for solution in samples(row)]
        [('3',), ('1 + 1 = 2', 'The answer is 2.')]
    """
    published = "generated_answer" in row
    prompt = text(row, "question" if published else "prompt")
    answer = reference(row, "answer")
    splitter = splitter_for(separator)
    found: list[LabelledSolution | LeftOut] = []
    for sample in items(row, "generated_answer" if published else "samples"):
        try:
            steps = tuple(splitter.split(text({"sample": sample}, "sample")))
        except ValueError:
            found.append(LeftOut("sample without text"))
            continue
        found.append(LabelledSolution(prompt, steps, (None,) * len(steps), answer))
    return found


def _labels(count: int, wrong: int | None) -> tuple[Label, ...]:
    """Labels of ``count`` steps by the index of the first wrong one; those after it are unknown."""
    if wrong is None:
        return (1,) * count
    return (*[1] * wrong, -1, *[None] * (count - wrong - 1))
