"""Locating the first wrong step of solutions that any model wrote, by what a scorer thinks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from reason_decode.evaluation.first_error import (
    Maximise,
    Scores,
    calibrate,
    first_below,
    location,
)
from reason_decode.evaluation.parts import Part
from reason_decode.scorers.base import Scorer, check_finite

__all__ = ["Located", "step_scores", "verify"]

Fits = Callable[[str, Sequence[str]], int]
"""How many of the first steps behind a prompt a scorer can read."""


@dataclass(frozen=True, slots=True)
class Located:
    """A solution of which it is known where it first goes wrong.

    Args:
        id: what results call it.
        prompt: what the scorer reads before the steps.
        steps: the steps; blank ones count as places and are not scored.
        wrong: the first wrong step from 0; ``None`` where all are right.
    """

    id: str
    prompt: str
    steps: tuple[str, ...]
    wrong: int | None


def verify(
    solutions: Sequence[Located],
    scorer: Scorer,
    parts: Sequence[Part],
    *,
    threshold: float | None = None,
    maximise: Maximise = "f1",
    batch_size: int = 32,
    fits: Fits | None = None,
) -> dict[str, Any]:
    """Predict where each solution first goes wrong, and measure the predictions.

    The prediction is the first step that scores below a threshold. Each part has its own,
    calibrated on its first half and applied to its second.

    Args:
        solutions: those to test and those to calibrate on.
        scorer: scores steps.
        parts: places in ``solutions``; see ``parts.py``.
        threshold: the same for all parts, calibrated on nothing.
        maximise: what a calibrated threshold maximises; see ``calibrate``.
        batch_size: how many solutions the scorer is given at a time.
        fits: how many of the first steps the scorer can read; ``None`` for all. The others are not
            scored, and the solution counts with what was read of it.

    Returns:
        What ``location`` measures, over all parts together; ``thresholds``, one a part; ``cut``,
        how many solutions were not read to their end; ``rows``, in the order of the solutions:
        ``id, scores, labelled`` and, where it was tested, ``predicted, threshold``, else
        ``calibrated_on``.

    Raises:
        ValueError: there is nothing to test, a prompt is calibrated on and tested by one part, a
            part cannot be calibrated, or scores are not one finite number a step.
    """
    if not any(part.tested for part in parts):
        raise ValueError("got no solutions to test; pass at least one")
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"got threshold={threshold}; need a finite number, or None to calibrate")
    for part in parts if threshold is None else ():
        both = {solutions[k].prompt for k in part.calibrated}
        both &= {solutions[k].prompt for k in part.tested}
        if both:
            raise ValueError(
                f"got {len(both)} prompts both to calibrate on and to test on; a threshold is "
                "tested on other prompts only: make parts by folds, share or held_out"
            )
    scores = step_scores(solutions, scorer, batch_size, fits)
    rows = [
        {"id": solution.id, "scores": row, "labelled": solution.wrong}
        for solution, row in zip(solutions, scores, strict=True)
    ]
    thresholds: list[float] = []
    for part in parts:
        chosen, wrong = _of(part.calibrated, scores, solutions)
        thresholds.append(calibrate(chosen, wrong, maximise) if threshold is None else threshold)
        for k in part.tested:
            guess = first_below(scores[k], thresholds[-1])
            rows[k] |= {"predicted": guess, "threshold": thresholds[-1]}
    tested = [row for row in rows if "predicted" in row]
    for row in rows:
        if "predicted" not in row:
            row["calibrated_on"] = True
    measured = location([row["predicted"] for row in tested], [row["labelled"] for row in tested])
    cut = sum(
        any(x is None and step.strip() for x, step in zip(row, solution.steps, strict=True))
        for row, solution in zip(scores, solutions, strict=True)
    )
    return {**measured, "thresholds": thresholds, "cut": cut, "rows": rows}


def step_scores(
    solutions: Sequence[Located],
    scorer: Scorer,
    batch_size: int = 32,
    fits: Fits | None = None,
) -> list[list[float | None]]:
    """The score of each step of each solution; ``None`` for blank steps and ones that do not fit.

    Args:
        solutions: the solutions.
        scorer: scores steps.
        batch_size: how many solutions the scorer is given at a time.
        fits: how many of the first steps it can read; ``None`` for all.

    Raises:
        ValueError: the batch size is below 1; scores are not one finite number a step.
    """
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; need at least 1")
    rows: list[list[float | None]] = []
    with tqdm(total=len(solutions), desc="verify", unit="solution", disable=None) as progress:
        for start in range(0, len(solutions), batch_size):
            batch = solutions[start : start + batch_size]
            texts = [_readable(solution, fits) for solution in batch]
            scores = scorer.score([solution.prompt for solution in batch], texts)
            check_finite(scores, [solution.id for solution in batch])
            for solution, listed, row in zip(batch, texts, scores, strict=True):
                if len(listed) != len(row):
                    raise ValueError(
                        f"got {len(row)} scores for the {len(listed)} steps of {solution.id}; "
                        "need a scorer of steps, such as a process reward model"
                    )
                given = iter(row.tolist())
                rows.append([next(given, None) if x.strip() else None for x in solution.steps])
            progress.update(len(batch))
    return rows


def _readable(solution: Located, fits: Fits | None) -> list[str]:
    steps = [step for step in solution.steps if step.strip()]
    return steps if fits is None else steps[: fits(solution.prompt, steps)]


def _of(
    places: Sequence[int], scores: Sequence[Scores], solutions: Sequence[Located]
) -> tuple[list[Scores], list[int | None]]:
    return [scores[k] for k in places], [solutions[k].wrong for k in places]
