"""Rerank solutions that any model wrote by the scores of their steps, and grade the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reason_decode.core.records import Candidate
from reason_decode.io.jsonl import Reject, read_jsonl
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.checks import NotFinite, check_text
from reason_decode.scorers.reduction import Reduce
from reason_decode.strategies.selection import BestOfNSelector, Selector, VoteSelector
from reason_decode.tasks import Task

__all__ = ["Sampled", "normal_text", "read_samples", "rerank"]


@dataclass(frozen=True)
class Sampled:
    """One problem with solutions.

    Args:
        row: its line in the file, from 1.
        id: its ``rank`` or ``id`` where the row has one, else its line.
        prompt: what the scorer reads before a solution.
        texts: the solutions, normalised.
        correct: whether each is right.
    """

    row: int
    id: int | str
    prompt: str
    texts: tuple[str, ...]
    correct: tuple[bool, ...]


def read_samples(path: str | Path, task: Task) -> tuple[list[Sampled], list[Reject]]:
    """The problems of a samples file, graded, and the lines that hold none.

    A row has ``samples`` (texts) and ``puzzle`` (the problem as the task writes it) or ``prompt``
    (read as it stands), optionally ``correct`` (one truth value a sample; without it the task
    grades) and ``rank`` or ``id``.

    Args:
        path: JSON Lines, gzipped where the name ends in ``.gz``.
        task: tells the prompt of a puzzle; grades.

    Raises:
        OSError: the file cannot be read.
        ValueError: no line holds a problem.
    """
    rows, rejected = read_jsonl(path)
    problems: list[Sampled] = []
    for number, row in rows:
        try:
            problems.append(_sampled(number, row, task))
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    if not problems:
        why = f"; line {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f"{path} holds no problem with samples ({len(rejected)} malformed{why})")
    return problems, sorted(rejected, key=lambda reject: reject.row)


def rerank(
    problems: Sequence[Sampled],
    scorer: Scorer,
    *,
    reduce: Reduce | None = None,
    rejected: Sequence[Reject] = (),
) -> dict[str, Any]:
    """Choose one solution per problem by best-of-n and by weighted vote, and grade the choices.

    ``best_of_n = argmax_i total_i`` and ``weighted_vote = argmax_a sum_i w_i [answer_i = a]``,
    where ``total_i`` reduces the step scores of solution i and w_i is made of it. Equal solutions
    of a problem are scored once. See ``BestOfNSelector`` and ``VoteSelector``.

    Args:
        problems: from ``read_samples``.
        scorer: scores the solutions; called once per problem.
        reduce: how step scores become one total; ``None``: the default of the scorer's score space.
        rejected: rows that were set aside, to be reported with the rest.

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
        candidates = _scored(problem, best)
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


def normal_text(text: str) -> str:
    """A solution without blank lines, space around its lines and a first line ``Steps:``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[1:] if lines and lines[0].lower() == "steps:" else lines)


def _sampled(number: int, row: Mapping[str, Any], task: Task) -> Sampled:
    samples = row.get("samples")
    if not isinstance(samples, list) or not samples:
        raise ValueError("`samples` is no list of texts, or an empty one")
    if not all(isinstance(sample, str) for sample in samples):
        raise ValueError("`samples` holds something that is no text")
    for k, sample in enumerate(samples):
        check_text(sample, f"sample {k}")
    texts = tuple(normal_text(sample) for sample in samples)
    correct = row.get("correct")
    literal = row.get("prompt") if "puzzle" not in row else None
    if correct is None or literal is None:
        item = task.row_to_item(row)
        prompt = item.prompt if literal is None else literal
        graded = tuple(task.grade(item, text) for text in texts) if correct is None else correct
    else:
        prompt, graded = literal, correct
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"got the prompt {prompt!r}; need a text, or a `puzzle` in its place")
    listed = isinstance(graded, list | tuple) and len(graded) == len(texts)
    if not listed or not all(x in (0, 1) for x in graded):
        raise ValueError(f"`correct` is no list of {len(texts)} truth values, one a sample")
    name = row.get("rank", row.get("id"))
    id = name if isinstance(name, int | str) else number
    return Sampled(number, id, prompt, texts, tuple(bool(x) for x in graded))


def _scored(problem: Sampled, selector: Selector) -> list[Candidate]:
    """The solutions of a problem with their scores; an error names the problem's line."""
    candidates = [selector.candidate(text) for text in problem.texts]
    try:
        (scored,), _ = selector.score([problem.prompt], [candidates])
    except NotFinite as error:
        raise NotFinite(f"line {problem.row}, equal samples counted once: {error}") from error
    return scored


def _choice(
    problem: Sampled, selector: Selector, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """Index, score and grade of the solution that a selector chooses."""
    (index,) = selector.choose(problem.prompt, candidates).chosen
    return {"index": index, "score": candidates[index].total, "right": problem.correct[index]}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    solvable = sum(row["right_samples"] > 0 for row in rows)

    def graded(way: str) -> dict[str, Any]:
        right = sum(row[way]["right"] for row in rows)
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
