"""Locating the first wrong step of solutions that any model wrote, by what a scorer thinks."""

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from reason_decode.evaluation.first_error import Maximise, calibrate, first_below, location
from reason_decode.evaluation.splits import Part
from reason_decode.runs.batches import Batches
from reason_decode.runs.options import SINGLE_SHARD, Shard
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.checks import NotFinite, check_finite

__all__ = ["AnnotatedSolution", "check_parts", "located", "scored", "step_scores", "verify"]

Fits = Callable[[str, Sequence[str]], int]
"""How many of the first steps behind a prompt a scorer can read."""


@dataclass(frozen=True, slots=True)
class AnnotatedSolution:
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
    solutions: Sequence[AnnotatedSolution],
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
    check_parts(solutions, parts, threshold)
    scores: list[list[float | None] | None] = [*step_scores(solutions, scorer, batch_size, fits)]
    return located(solutions, scores, parts, threshold=threshold, maximise=maximise)


def check_parts(
    solutions: Sequence[AnnotatedSolution], parts: Sequence[Part], threshold: float | None
) -> None:
    """Raise unless there is something to test, and no prompt is calibrated on and tested.

    Args:
        solutions: see ``verify``.
        parts: places in them.
        threshold: ``None`` for one that is calibrated.

    Raises:
        ValueError: there is not, or one is.
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


def located(
    solutions: Sequence[AnnotatedSolution],
    scores: Sequence[list[float | None] | None],
    parts: Sequence[Part],
    *,
    threshold: float | None = None,
    maximise: Maximise = "f1",
) -> dict[str, Any]:
    """The result of ``verify``, from step scores that are there already.

    Args:
        solutions: see ``verify``, as for what is not told of here.
        scores: of the steps of each solution; ``None`` for one that could not be scored, which then
            neither counts nor has a row.
        parts: places in ``solutions``.
        threshold: the same for all parts.
        maximise: what a calibrated threshold maximises.

    Raises:
        ValueError: a part cannot be calibrated, or nothing that is to be tested has scores.
    """
    known = {k: row for k, row in enumerate(scores) if row is not None}
    if not any(k in known for part in parts for k in part.tested):
        raise ValueError("none of the solutions to test could be scored")
    rows: dict[int, dict[str, Any]] = {
        k: {"id": solutions[k].id, "scores": row, "labelled": solutions[k].wrong}
        for k, row in known.items()
    }
    thresholds: list[float] = []
    for part in parts:
        chosen = [k for k in part.calibrated if k in known]
        if threshold is None:
            wrong = [solutions[k].wrong for k in chosen]
            thresholds.append(calibrate([known[k] for k in chosen], wrong, maximise))
        else:
            thresholds.append(threshold)
        for k in part.tested:
            if k in known:
                guess = first_below(known[k], thresholds[-1])
                rows[k] |= {"predicted": guess, "threshold": thresholds[-1]}
    tested = [row for row in rows.values() if "predicted" in row]
    for row in rows.values():
        if "predicted" not in row:
            row["calibrated_on"] = True
    measured = location([row["predicted"] for row in tested], [row["labelled"] for row in tested])
    cut = sum(
        any(x is None and step.strip() for x, step in zip(row, solutions[k].steps, strict=True))
        for k, row in known.items()
    )
    return {**measured, "thresholds": thresholds, "cut": cut, "rows": list(rows.values())}


def step_scores(
    solutions: Sequence[AnnotatedSolution],
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
        MemoryError: the scorer has no room for one solution alone.
    """
    batches = scored(solutions, scorer, batch_size, fits)
    rows = [row for _, line in batches for row in line["scores"]]
    for item in batches.failed:
        raise (MemoryError if item.out_of_memory else NotFinite)(item.reason)
    return rows


def scored(
    solutions: Sequence[AnnotatedSolution],
    scorer: Scorer,
    batch_size: int = 32,
    fits: Fits | None = None,
    *,
    done: Container[int] = (),
    shard: Shard = SINGLE_SHARD,
) -> Batches[dict[str, Any]]:
    """The step scores of solutions batch by batch: see ``Batches`` and ``step_scores``.

    Args:
        solutions: the solutions; their places name them.
        scorer: scores steps.
        batch_size: how many solutions the scorer is given at a time.
        fits: how many of the first steps it can read; ``None`` for all.
        done: places of solutions that need not be scored.
        shard: which batches are run here.

    Returns:
        Of each batch ``items`` (places) and ``scores``.

    Raises:
        ValueError: the batch size is below 1; while iterating: scores are not one number a step.
    """
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; need at least 1")

    def do(places: Sequence[int]) -> dict[str, Any]:
        batch = [solutions[place] for place in places]
        return {"items": list(places), "scores": _scored(batch, scorer, fits)}

    places = range(len(solutions))
    named = {"desc": "verify", "unit": "solution"}
    return Batches(places, batch_size, do, done=done, shard=shard, **named)


def _scored(
    batch: Sequence[AnnotatedSolution], scorer: Scorer, fits: Fits | None
) -> list[list[float | None]]:
    rows: list[list[float | None]] = []
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
    return rows


def _readable(solution: AnnotatedSolution, fits: Fits | None) -> list[str]:
    steps = [step for step in solution.steps if step.strip()]
    return steps if fits is None else steps[: fits(solution.prompt, steps)]
