"""Prediction of the first wrong step of given solutions, from a scorer's step scores."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reason_decode.core.options import Maximise
from reason_decode.core.thinking import THINK, ScorePart, ThinkingTags, step_parts
from reason_decode.evaluation.first_error import best_threshold, first_below, first_error_metrics
from reason_decode.evaluation.splits import CalibrationSplit
from reason_decode.runs.batches import Batches
from reason_decode.runs.options import SINGLE_SHARD, Shard
from reason_decode.scorers.base import NonFiniteScoreError, Scorer, check_finite

__all__ = [
    "AnnotatedSolution",
    "check_splits",
    "evaluate_first_errors",
    "score_batches",
    "score_steps",
    "scored_part",
    "verify",
]


@dataclass(frozen=True, slots=True)
class AnnotatedSolution:
    """A solution whose first wrong step is known.

    Args:
        id: name of the solution in results.
        prompt: text that the scorer reads before the steps.
        steps: the steps; blank ones keep their index and are not scored.
        first_error: index of the first wrong step; ``None`` if all are right.
    """

    id: str
    prompt: str
    steps: tuple[str, ...]
    first_error: int | None


def scored_part(
    solutions: Sequence[AnnotatedSolution],
    score_part: ScorePart = "both",
    thinking_tags: Sequence[str] = THINK,
) -> list[AnnotatedSolution]:
    """Solutions with the part of each step that is scored; steps without any are blank.

    Args:
        solutions: the solutions.
        score_part: the part that the scorer reads: "both", "answer" or "thought".
        thinking_tags: the texts before and after a thought.
    """
    tags = ThinkingTags(*thinking_tags)
    return [replace(x, steps=tuple(step_parts(x.steps, score_part, tags))) for x in solutions]


def verify(
    solutions: Sequence[AnnotatedSolution],
    scorer: Scorer,
    splits: Sequence[CalibrationSplit],
    *,
    threshold: float | None = None,
    maximise: Maximise = "f1",
    batch_size: int = 32,
    score_part: ScorePart = "both",
    thinking_tags: Sequence[str] = THINK,
) -> dict[str, Any]:
    """Predict the first error of each solution, and measure the predictions.

    The prediction is the first step that scores below a threshold. Each split calibrates a
    threshold of its own and applies it to its test solutions.

    Args:
        solutions: the solutions to test and those to calibrate on.
        scorer: scores steps.
        splits: indices of ``solutions``; see ``splits.py``.
        threshold: threshold of all splits; nothing is calibrated then.
        maximise: objective of a calibrated threshold; see ``best_threshold``.
        batch_size: solutions that the scorer is given at a time.
        score_part: the part of a solution that the scorer reads: "both", "answer" or "thought".
        thinking_tags: the texts before and after a thought.

    Returns:
        What ``first_error_metrics`` gives, over all splits together; ``thresholds``, one per split;
        ``truncated``, the number of solutions whose last steps did not fit into the scorer's
        context; ``rows``, in the order of the solutions: ``id, scores, labelled`` and, if it was
        tested, ``predicted, threshold``, else ``calibrated_on``.

    Raises:
        ValueError: there is nothing to test, a split calibrates on a prompt that it tests, a
            threshold cannot be calibrated, or scores are not one finite number per step.
    """
    check_splits(solutions, splits, threshold)
    solutions = scored_part(solutions, score_part, thinking_tags)
    scores = score_steps(solutions, scorer, batch_size)
    return evaluate_first_errors(solutions, scores, splits, threshold=threshold, maximise=maximise)


def check_splits(
    solutions: Sequence[AnnotatedSolution],
    splits: Sequence[CalibrationSplit],
    threshold: float | None,
) -> None:
    """Raise if there is nothing to test, or if a split calibrates on a prompt that it tests.

    Args:
        solutions: the solutions to test and those to calibrate on.
        splits: indices of ``solutions``.
        threshold: the threshold; ``None`` if it is calibrated.

    Raises:
        ValueError: see above, or the threshold is not finite.
    """
    if not any(split.test for split in splits):
        raise ValueError("got no solutions to test; pass at least one")
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"got threshold={threshold}; need a finite number, or None to calibrate")
    for split in splits if threshold is None else ():
        both = {solutions[k].prompt for k in split.calibration}
        both &= {solutions[k].prompt for k in split.test}
        if both:
            raise ValueError(
                f"got {len(both)} prompts both to calibrate on and to test on; a threshold is "
                "tested on other prompts only: make splits by k_fold_splits, share_split or "
                "other_data_split"
            )


def evaluate_first_errors(
    solutions: Sequence[AnnotatedSolution],
    scores: Sequence[Sequence[float | None] | None],
    splits: Sequence[CalibrationSplit],
    *,
    threshold: float | None = None,
    maximise: Maximise = "f1",
) -> dict[str, Any]:
    """The result of ``verify`` from step scores that are known already.

    Args:
        solutions: the solutions to test and those to calibrate on.
        scores: scores of the steps of each solution; ``None`` for a solution that could not be
            scored, which has no row and counts nowhere.
        splits: indices of ``solutions``.
        threshold: threshold of all splits; nothing is calibrated then.
        maximise: objective of a calibrated threshold; see ``best_threshold``.

    Raises:
        ValueError: a threshold cannot be calibrated, or no solution to test has scores.
    """
    known = {k: list(row) for k, row in enumerate(scores) if row is not None}
    if not any(k in known for split in splits for k in split.test):
        raise ValueError("none of the solutions to test could be scored")
    rows: dict[int, dict[str, Any]] = {
        k: {"id": solutions[k].id, "scores": row, "labelled": solutions[k].first_error}
        for k, row in known.items()
    }
    thresholds: list[float] = []
    for split in splits:
        chosen = [k for k in split.calibration if k in known]
        if threshold is None:
            labels = [solutions[k].first_error for k in chosen]
            thresholds.append(best_threshold([known[k] for k in chosen], labels, maximise))
        else:
            thresholds.append(threshold)
        for k in split.test:
            if k in known:
                predicted = first_below(known[k], thresholds[-1])
                rows[k] |= {"predicted": predicted, "threshold": thresholds[-1]}
    tested = [row for row in rows.values() if "predicted" in row]
    for row in rows.values():
        if "predicted" not in row:
            row["calibrated_on"] = True
    metrics = first_error_metrics(
        [row["predicted"] for row in tested], [row["labelled"] for row in tested]
    )
    truncated = sum(
        any(x is None and step.strip() for x, step in zip(row, solutions[k].steps, strict=True))
        for k, row in known.items()
    )
    return {
        **metrics,
        "thresholds": thresholds,
        "truncated": truncated,
        "rows": list(rows.values()),
    }


def score_steps(
    solutions: Sequence[AnnotatedSolution], scorer: Scorer, batch_size: int = 32
) -> list[list[float | None]]:
    """Scores of the steps of each solution; ``None`` for blank steps and steps that do not fit.

    Args:
        solutions: the solutions.
        scorer: scores steps.
        batch_size: solutions that the scorer is given at a time.

    Raises:
        ValueError: the batch size is below 1, or scores are not one finite number per step.
        MemoryError: the memory does not suffice for one solution alone.
    """
    batches = score_batches(solutions, scorer, batch_size)
    rows = [row for _, result in batches for row in result["scores"]]
    for item in batches.failed:
        raise (MemoryError if item.out_of_memory else NonFiniteScoreError)(item.reason)
    return rows


def score_batches(
    solutions: Sequence[AnnotatedSolution],
    scorer: Scorer,
    batch_size: int = 32,
    *,
    done: Container[int] = (),
    shard: Shard = SINGLE_SHARD,
) -> Batches[dict[str, Any]]:
    """Batches of solutions; iterating scores their steps, see ``score_steps``.

    Args:
        solutions: the solutions; their indices are the items of the batches.
        scorer: scores steps.
        batch_size: solutions that the scorer is given at a time.
        done: indices of solutions to skip.
        shard: the batches to score.

    Returns:
        Batches whose results are ``{"items": indices, "scores": scores of their steps}``.

    Raises:
        ValueError: the batch size is below 1; while iterating: scores are not one number per step.
    """
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; need at least 1")

    def score(indices: Sequence[int]) -> dict[str, Any]:
        batch = [solutions[index] for index in indices]
        return {"items": list(indices), "scores": _score(batch, scorer)}

    indices = range(len(solutions))
    return Batches(
        indices, batch_size, score, done=done, shard=shard, desc="verify", unit="solution"
    )


def _score(batch: Sequence[AnnotatedSolution], scorer: Scorer) -> list[list[float | None]]:
    rows: list[list[float | None]] = []
    read = [_leading_steps(solution, scorer) for solution in batch]
    scores = scorer.score([solution.prompt for solution in batch], read)
    check_finite(scores, [solution.id for solution in batch])
    for solution, steps, row in zip(batch, read, scores, strict=True):
        if len(steps) != len(row):
            raise ValueError(
                f"got {len(row)} scores for the {len(steps)} steps of {solution.id}; "
                "need a scorer of steps, such as a process reward model"
            )
        given = iter(row.tolist())
        rows.append([next(given, None) if x.strip() else None for x in solution.steps])
    return rows


def _leading_steps(solution: AnnotatedSolution, scorer: Scorer) -> list[str]:
    steps = [step for step in solution.steps if step.strip()]
    return steps[: scorer.max_steps(solution.prompt, steps)]
