"""Rerank solutions that any model wrote by the scores of their steps, and grade the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Candidate, check_text
from reason_decode.io.jsonl import Reject, read_jsonl
from reason_decode.scorers.base import NonFiniteScoreError, Scorer
from reason_decode.strategies.selection import BestOfNSelector, Selector, VoteSelector
from reason_decode.tasks import Task

__all__ = ["SampledProblem", "normalize_solution", "read_samples", "rerank"]


@dataclass(frozen=True)
class SampledProblem:
    """A problem with sampled and graded solutions.

    Args:
        row: line number of the problem in its file, from 1.
        id: ``rank`` or ``id`` of the row, or its line number if it has neither.
        prompt: text that the scorer reads before a solution.
        texts: the solutions, see ``normalize_solution``.
        correct: whether each solution is right.
    """

    row: int
    id: int | str
    prompt: str
    texts: tuple[str, ...]
    correct: tuple[bool, ...]


def read_samples(path: str | Path, task: Task) -> tuple[list[SampledProblem], list[Reject]]:
    """Problems of a file of samples, graded, and the lines that hold none.

    A row has ``samples`` (texts) and either ``puzzle`` (the problem in the form of the task) or
    ``prompt`` (the text itself); optionally ``correct`` (one truth value per sample; without it the
    task grades) and ``rank`` or ``id``.

    Args:
        path: JSON Lines, gzipped if the name ends in ``.gz``.
        task: makes the prompt of a puzzle, and grades.

    Raises:
        OSError: the file cannot be read.
        ValueError: no line holds a problem with samples.
    """
    rows, rejected = read_jsonl(path)
    problems: list[SampledProblem] = []
    for number, row in rows:
        try:
            problems.append(_sampled_problem(number, row, task))
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    if not problems:
        why = f"; line {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f"{path} holds no problem with samples ({len(rejected)} malformed{why})")
    return problems, sorted(rejected, key=lambda reject: reject.row)


def rerank(
    problems: Sequence[SampledProblem],
    scorer: Scorer,
    *,
    reduce: Reduce | None = None,
    rejected: Sequence[Reject] = (),
) -> dict[str, Any]:
    """Choose one solution per problem by best-of-n and by weighted vote, and grade the choices.

    ``best_of_n = argmax_i total_i`` and ``weighted_vote = argmax_a sum_i w_i [answer_i = a]``,
    where ``total_i`` reduces the step scores of solution i and w_i is its vote weight. Equal
    solutions of a problem are scored once. See ``BestOfNSelector`` and ``VoteSelector``.

    Args:
        problems: from ``read_samples``.
        scorer: scores the solutions; called once per problem.
        reduce: how step scores become one total; ``None``: the default of the scorer's score space.
        rejected: malformed rows, which the result lists.

    Returns:
        ``problems, samples, problems_with_a_right_sample, single_sample`` (mean share of right
        samples), ``best_of_n`` and ``weighted_vote`` (each ``right, of_solvable, accuracy``),
        ``rejected`` and ``rows`` (each problem's choices: ``index, score, right``).

    Raises:
        ValueError: no problems; a score is not finite; the scores cannot weight votes.
        ImportError: answers with LaTeX are to be compared and math-verify is not installed.
    """
    if not problems:
        raise ValueError("got no problems; pass at least one problem with samples")
    best = BestOfNSelector(scorer, reduce=reduce)
    vote = VoteSelector(scorer, reduce=reduce)
    rows: list[dict[str, Any]] = []
    for problem in tqdm(problems, desc="rerank", unit="problem", disable=None):
        candidates = _score(problem, best)
        rows.append(
            {
                "id": problem.id,
                "samples": len(candidates),
                "right_samples": sum(problem.correct),
                "best_of_n": _choice(problem, best, candidates),
                "weighted_vote": _choice(problem, vote, candidates),
            }
        )
    return {**_summary(rows), "rejected": [asdict(reject) for reject in rejected], "rows": rows}


def normalize_solution(text: str) -> str:
    r"""A solution without blank lines, spaces around its lines and a first line ``Steps:``.

    Examples:
        >>> normalize_solution("Steps:\n 1 + 2 = 3\n\n3 * 4 = 12 ")
        '1 + 2 = 3\n3 * 4 = 12'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[1:] if lines and lines[0].lower() == "steps:" else lines)


def _sampled_problem(number: int, row: Mapping[str, Any], task: Task) -> SampledProblem:
    samples = row.get("samples")
    if not isinstance(samples, list) or not samples:
        raise ValueError("`samples` is no list of texts, or an empty one")
    if not all(isinstance(sample, str) for sample in samples):
        raise ValueError("`samples` holds something that is no text")
    for k, sample in enumerate(samples):
        check_text(sample, f"sample {k}")
    texts = tuple(normalize_solution(sample) for sample in samples)
    correct = row.get("correct")
    own_prompt = row.get("prompt") if "puzzle" not in row else None
    if correct is None or own_prompt is None:
        item = task.row_to_item(row)
        prompt = item.prompt if own_prompt is None else own_prompt
        graded = tuple(task.grade(item, text) for text in texts) if correct is None else correct
    else:
        prompt, graded = own_prompt, correct
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"got the prompt {prompt!r}; need a text, or a `puzzle` instead")
    is_list = isinstance(graded, list | tuple) and len(graded) == len(texts)
    if not is_list or not all(x in (0, 1) for x in graded):
        raise ValueError(f"`correct` is no list of {len(texts)} truth values, one per sample")
    name = row.get("rank", row.get("id"))
    id = name if isinstance(name, int | str) else number
    return SampledProblem(number, id, prompt, texts, tuple(bool(x) for x in graded))


def _score(problem: SampledProblem, selector: Selector) -> list[Candidate]:
    """The solutions of a problem with their scores; an error names the problem's line."""
    candidates = [selector.candidate(text) for text in problem.texts]
    try:
        (scored,), _ = selector.score([problem.prompt], [candidates])
    except NonFiniteScoreError as error:
        raise NonFiniteScoreError(
            f"line {problem.row}, equal samples counted once: {error}"
        ) from error
    return scored


def _choice(
    problem: SampledProblem, selector: Selector, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """Index, score and grade of the solution that a selector chooses."""
    (index,) = selector.choose(problem.prompt, candidates).chosen
    return {"index": index, "score": candidates[index].total, "right": problem.correct[index]}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    solvable = sum(row["right_samples"] > 0 for row in rows)

    def graded(method: str) -> dict[str, Any]:
        right = sum(row[method]["right"] for row in rows)
        share = right / solvable if solvable else None
        return {"right": right, "of_solvable": share, "accuracy": right / len(rows)}

    return {
        "problems": len(rows),
        "samples": sum(row["samples"] for row in rows),
        "problems_with_a_right_sample": solvable,
        "single_sample": sum(row["right_samples"] / row["samples"] for row in rows) / len(rows),
        "best_of_n": graded("best_of_n"),
        "weighted_vote": graded("weighted_vote"),
    }
