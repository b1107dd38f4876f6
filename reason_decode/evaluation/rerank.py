"""Rerank solutions that any model wrote by the scores of their steps, and grade the choice."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reason_decode.core.answers import none_right_message, reference_answer, states_answer
from reason_decode.core.options import Reduce
from reason_decode.core.solutions import Candidate, Trace, check_text
from reason_decode.core.thinking import THINK, ScorePart, ThinkingTags, answer_of
from reason_decode.evaluation.curves import SamplePool, answer_ids
from reason_decode.io.fields import optional_text
from reason_decode.io.jsonl import read_jsonl
from reason_decode.io.read_report import Reject
from reason_decode.scorers.base import NonFiniteScoreError, Scorer
from reason_decode.strategies.selection import BestOfNSelector, Selector, VoteSelector
from reason_decode.tasks import Task, question_task
from reason_decode.tasks.base import unchanged

__all__ = ["SampledProblem", "read_samples", "rerank", "scored_pools"]


@dataclass(frozen=True)
class SampledProblem:
    """A problem with sampled and graded solutions.

    Args:
        row: line number of the problem in its file, from 1.
        id: ``rank`` or ``id`` of the row, or its line number if it has neither.
        prompt: text that the scorer reads before a solution.
        texts: the solutions, as the task normalizes them.
        correct: whether each solution is right.
        answer: the reference answer that decided that; ``None`` if the file did.
    """

    row: int
    id: int | str
    prompt: str
    texts: tuple[str, ...]
    correct: tuple[bool, ...]
    answer: str | None = None


def read_samples(
    path: str | Path, task: Task | None = None, *, thinking_tags: Sequence[str] = THINK
) -> tuple[list[SampledProblem], list[Reject]]:
    """Problems of a file of samples, graded, and the lines that hold none.

    A row has ``samples`` (texts) and either ``prompt`` (the problem as text) or the problem in the
    form of the task (``question``; of game24, ``puzzle``), and optionally ``rank`` or ``id``. A
    sample is right by the row's ``correct`` (one truth value per sample), else by the task, else by
    ``answer`` (a final answer, or a solution that states one). A warning is logged if no sample of
    a file is right.

    Args:
        path: JSON Lines, gzipped if the name ends in ``.gz``.
        task: makes the prompt of a puzzle, and grades; ``None`` where rows need neither.
        thinking_tags: the texts before and after a thought, which is no answer.

    Raises:
        OSError: the file cannot be read.
        ValueError: no line holds a problem with samples.
    """
    rows, rejected = read_jsonl(path)
    problems: list[SampledProblem] = []
    for number, row in rows:
        try:
            problems.append(_sampled_problem(number, row, task, thinking_tags))
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    if not problems:
        why = f"; line {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f"{path} holds no problem with samples ({len(rejected)} malformed{why})")
    if not any(any(problem.correct) for problem in problems):
        _warn_of_none_right(path, problems)
    return problems, sorted(rejected, key=lambda reject: reject.row)


def rerank(
    problems: Sequence[SampledProblem],
    scorer: Scorer,
    *,
    reduce: Reduce | None = None,
    rejected: Sequence[Reject] = (),
    thinking_tags: Sequence[str] = THINK,
    score_part: ScorePart = "both",
) -> dict[str, Any]:
    """Choose one solution per problem by best-of-n and by votes, and grade the choices.

    ``best_of_n = argmax_i total_i`` and ``weighted_vote = argmax_a sum_i w_i [answer_i = a]``,
    where ``total_i`` reduces the step scores of solution i and w_i is its vote weight; ``vote`` has
    every w_i = 1. Equal
    solutions of a problem are scored once. See ``BestOfNSelector`` and ``VoteSelector``.

    Args:
        problems: from ``read_samples``.
        scorer: scores the solutions; called once per problem.
        reduce: how step scores become one total; ``None``: the default of the scorer's score space.
        rejected: malformed rows, which the result lists.
        thinking_tags: the texts before and after a thought.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought".

    Returns:
        ``problems, samples, problems_with_a_right_sample, single_sample`` (mean share of right
        samples), ``answered_sample`` (the same among those that state an answer; 0 where none
        does), ``best_of_n``, ``vote`` and ``weighted_vote`` (each ``right, of_solvable,
        accuracy``), ``rejected`` and ``rows`` (each problem's choices: ``index, score, right``, and
        ``agreement``, the share of votes for the winner of ``vote``).

    Raises:
        ValueError: no problems; a score is not finite; the scores cannot weight votes.
        ImportError: answers with LaTeX are to be compared and math-verify is not installed.
    """
    if not problems:
        raise ValueError("got no problems; pass at least one problem with samples")
    options: dict[str, Any] = {"thinking_tags": thinking_tags, "score_part": score_part}
    best = BestOfNSelector(scorer, reduce=reduce, **options)
    vote, weighted = VoteSelector(**options), VoteSelector(scorer, reduce=reduce, **options)
    rows: list[dict[str, Any]] = []
    for problem in tqdm(problems, desc="rerank", unit="problem", disable=None):
        candidates = _score(problem, best)
        voted = vote.choose(problem.prompt, candidates)
        graded = zip(voted.candidates, problem.correct, strict=True)
        answered = [right for x, right in graded if x.answer is not None]
        rows.append(
            {
                "id": problem.id,
                "samples": len(candidates),
                "right_samples": sum(problem.correct),
                "answered_samples": len(answered),
                "right_answered_samples": sum(answered),
                "best_of_n": _choice(problem, best.choose(problem.prompt, candidates)),
                "vote": _choice(problem, voted),
                "agreement": voted.agreement,
                "weighted_vote": _choice(problem, weighted.choose(problem.prompt, candidates)),
            }
        )
    return {**_summary(rows), "rejected": [asdict(reject) for reject in rejected], "rows": rows}


def scored_pools(
    problems: Sequence[SampledProblem],
    scorer: Scorer,
    *,
    reduce: Reduce | None = None,
    thinking_tags: Sequence[str] = THINK,
    score_part: ScorePart = "both",
) -> list[SamplePool]:
    """The samples of each problem with their answers, and their totals as ``score``.

    Args:
        problems: from ``read_samples``.
        scorer: scores the solutions; called once per problem.
        reduce: see ``rerank``.
        thinking_tags: see ``rerank``.
        score_part: see ``rerank``.

    Raises:
        ValueError: a score is not finite.
    """
    options: dict[str, Any] = {"thinking_tags": thinking_tags, "score_part": score_part}
    selector = BestOfNSelector(scorer, reduce=reduce, **options)
    vote = VoteSelector(**options)
    pools: list[SamplePool] = []
    for problem in tqdm(problems, desc="scoring", unit="problem", disable=None):
        voters = vote.choose(problem.prompt, _score(problem, selector)).candidates
        totals = [float(x.total or 0.0) for x in voters]
        ids = answer_ids([x.answer for x in voters])
        pools.append(SamplePool(problem.correct, ids, {"score": totals}))
    return pools


def _sampled_problem(
    number: int, row: Mapping[str, Any], task: Task | None, thinking_tags: Sequence[str]
) -> SampledProblem:
    samples = row.get("samples")
    if not isinstance(samples, list) or not samples:
        raise ValueError("`samples` is no list of texts, or an empty one")
    if not all(isinstance(sample, str) for sample in samples):
        raise ValueError("`samples` holds something that is no text")
    for k, sample in enumerate(samples):
        check_text(sample, f"sample {k}")
    normalize = unchanged if task is None else task.normalize
    texts = tuple(normalize(sample) for sample in samples)
    tags = ThinkingTags(*thinking_tags)
    prompt, answer, graded = _graded(row, [answer_of(text, tags) for text in texts], task)
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"got the prompt {prompt!r}; need a text, or a `puzzle` instead")
    is_list = isinstance(graded, list | tuple) and len(graded) == len(texts)
    if not is_list or not all(x in (0, 1) for x in graded):
        raise ValueError(f"`correct` is no list of {len(texts)} truth values, one per sample")
    name = row.get("rank", row.get("id"))
    id = name if isinstance(name, int | str) else number
    return SampledProblem(number, id, prompt, texts, tuple(bool(x) for x in graded), answer)


def _graded(
    row: Mapping[str, Any], texts: Sequence[str], task: Task | None
) -> tuple[Any, str | None, Any]:
    """The prompt of a row, the answer that graded its samples, if one did, and their grades."""
    prompt, correct = row.get("prompt"), row.get("correct")
    if "puzzle" in row and task is None:
        raise ValueError("`puzzle` is in the form of a task: name it by --task, or give a `prompt`")
    if task is None and "puzzle" not in row and prompt is None:
        task = question_task()
    if task is not None and ("puzzle" in row or prompt is None or correct is None):
        item = task.row_to_item(row)
        prompt = item.question if "puzzle" in row or prompt is None else prompt
        if correct is None:
            return prompt, item.target, tuple(task.grade(item, text) for text in texts)
    if correct is not None:
        return prompt, None, correct
    given = optional_text(row, "answer")
    answer = reference_answer(given) if given else None
    if answer is None:
        raise ValueError(
            "nothing says which samples are right: give `correct` (a list of truth values) or "
            "`answer` (the right answer), or name a --task that grades"
        )
    return prompt, answer, tuple(states_answer(text, answer) for text in texts)


def _warn_of_none_right(path: str | Path, problems: Sequence[SampledProblem]) -> None:
    """Log a warning with an example, if answers were compared."""
    compared = [(x.answer, text) for x in problems for text in x.texts if x.answer is not None]
    if compared:
        answer, text = compared[0]
        message = none_right_message(len(compared), text, answer)
        logging.getLogger(__name__).warning("%s: %s", path, message)


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


def _choice(problem: SampledProblem, trace: Trace) -> dict[str, Any]:
    """Index, score and grade of the solution that was chosen."""
    (index,) = trace.chosen
    return {"index": index, "score": trace.best.total, "right": problem.correct[index]}


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
        "answered_sample": sum(
            row["right_answered_samples"] / max(1, row["answered_samples"]) for row in rows
        )
        / len(rows),
        "best_of_n": graded("best_of_n"),
        "vote": graded("vote"),
        "weighted_vote": graded("weighted_vote"),
    }
