"""Checks that hold a scorer to the laws of ``Scorer``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reason_decode.scorers.base import Scorer, check_scorer_argument
from reason_decode.testing.laws import LawBroken

__all__ = [
    "check_batches",
    "check_empty_solutions",
    "check_score_space",
    "check_scorer",
    "check_sessions",
    "check_shapes",
    "check_texts",
]

PROMPTS = ("What is 2 + 3 * 4?\n",) * 3 + ("What is 7 - 5?\n",)
SOLUTIONS = (
    ("First 3 * 4 = 12.", "Then 2 + 12 = 14.", "So the answer is 14."),
    ("First 2 + 3 = 5.", "Then 5 * 4 = 20."),
    ("The answer is 14.",),
    ("7 - 5 = 2.", "So the answer is 2."),
)
TOLERANCE = 1e-4
"""Allowed difference of scores that should be equal, relative to the largest score compared.

Sums of float32 differ by about 1e-5 of their size when they are computed in another order. Models
in bfloat16 need about 2e-2.
"""


def check_scorer(
    scorer: Scorer,
    prompts: Sequence[str] = PROMPTS,
    solutions: Sequence[Sequence[str]] = SOLUTIONS,
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise unless a scorer keeps the laws of ``Scorer``.

    - A solution has one finite float32 score a step, or one in all.
    - Scores are what ``score_space`` says.
    - A solution without steps has no scores.
    - A batch scores as its members do one by one, in any order.
    - A text scores as the list of its steps.
    - A session scores as ``score`` does, whichever trajectories are branched and dropped.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution; several solutions should share one.
        solutions: lists of steps; several should have more than one step.
        tolerance: allowed difference of scores that should be equal, relative to the largest.

    Raises:
        LawBroken: a law does not hold.
        ValueError: it is no scorer, or has no ``score_space``.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.testing import check_scorer
        >>> check_scorer(tiny.load().prm)
    """
    check_scorer_argument("scorer", scorer)
    check_shapes(scorer, prompts, solutions)
    check_score_space(scorer, prompts, solutions, tolerance=tolerance)
    check_empty_solutions(scorer, prompts)
    check_batches(scorer, prompts, solutions, tolerance=tolerance)
    check_texts(scorer, prompts, solutions, tolerance=tolerance)
    check_sessions(scorer, prompts, solutions, tolerance=tolerance)


def check_shapes(
    scorer: Scorer, prompts: Sequence[str], solutions: Sequence[Sequence[str]]
) -> None:
    """Raise unless each solution has one finite float32 score a step, or one in all.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution.
        solutions: lists of steps.

    Raises:
        LawBroken: it does not.
    """
    law = "a solution has one finite float32 score a step, or one in all"
    found = scorer.score(prompts, solutions)
    if len(found) != len(solutions):
        raise LawBroken(f"{law}: got {len(found)} tensors for {len(solutions)} solutions")
    for k, scores in enumerate(found):
        if not isinstance(scores, Tensor) or scores.dtype != torch.float32:
            kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
            raise LawBroken(f"{law}: got {kind} for solution {k}")
    whole = all(x.shape == (1,) for x in found)
    for k, (scores, steps) in enumerate(zip(found, solutions, strict=True)):
        if not whole and scores.shape != (len(steps),):
            raise LawBroken(
                f"{law}: got shape {tuple(scores.shape)} for the {len(steps)} steps of solution {k}"
            )
        if not bool(torch.isfinite(scores).all()):
            raise LawBroken(f"{law}: got {scores.tolist()} for solution {k}")


def check_score_space(
    scorer: Scorer,
    prompts: Sequence[str],
    solutions: Sequence[Sequence[str]],
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise unless probabilities are in [0, 1], and log-probabilities at most 0.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution.
        solutions: lists of steps.
        tolerance: how far outside of the range rounding may carry a score.

    Raises:
        LawBroken: a score is out of range.
    """
    low = 0.0 if scorer.score_space == "probability" else -torch.inf
    high = {"probability": 1.0, "log_probability": 0.0, "reward": torch.inf}[scorer.score_space]
    for k, scores in enumerate(scorer.score(prompts, solutions)):
        if not bool(((scores >= low - tolerance) & (scores <= high + tolerance)).all()):
            raise LawBroken(
                f"scores are what score_space says: got {scores.tolist()} for solution {k} in the "
                f"space {scorer.score_space!r}, whose scores are from {low} to {high}"
            )


def check_empty_solutions(scorer: Scorer, prompts: Sequence[str]) -> None:
    """Raise unless a solution without steps has no scores, alone and beside others.

    Args:
        scorer: the scorer.
        prompts: at least one.

    Raises:
        LawBroken: it has some.
    """
    empty = [[], "", scorer.splitter.joiner + " "]
    found = scorer.score([prompts[0]] * 4, [["One step."], *empty])
    for solution, scores in zip(empty, found[1:], strict=True):
        if scores.shape != (0,):
            raise LawBroken(
                f"a solution without steps has no scores: got {scores.tolist()} for {solution!r}"
            )


def check_batches(
    scorer: Scorer,
    prompts: Sequence[str],
    solutions: Sequence[Sequence[str]],
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise unless a batch scores as its members do one by one, in any order.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution.
        solutions: lists of steps.
        tolerance: allowed difference, relative to the largest score.

    Raises:
        LawBroken: it does not.
    """
    alone = [
        scores
        for prompt, steps in zip(prompts, solutions, strict=True)
        for scores in scorer.score([prompt], [steps])
    ]
    law = "a batch scores as its members do one by one"
    _compare(law, scorer.score(prompts, solutions), alone, tolerance)
    backward = scorer.score(prompts[::-1], solutions[::-1])[::-1]
    _compare("the order of a batch changes no score", backward, alone, tolerance)


def check_texts(
    scorer: Scorer,
    prompts: Sequence[str],
    solutions: Sequence[Sequence[str]],
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise unless a text scores as the list of its steps.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution.
        solutions: lists of steps, joined by the scorer's separator for the comparison.
        tolerance: allowed difference, relative to the largest score.

    Raises:
        LawBroken: it does not.
    """
    texts = [scorer.splitter.joiner.join(steps) for steps in solutions]
    law = "a text scores as the list of its steps"
    _compare(law, scorer.score(prompts, texts), scorer.score(prompts, solutions), tolerance)


def check_sessions(
    scorer: Scorer,
    prompts: Sequence[str],
    solutions: Sequence[Sequence[str]],
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise unless a session scores as ``score`` does.

    The session gets the first step of every solution. Then it continues, in another order and one
    of them twice, with those that have more steps, once by one step and once by all.

    Args:
        scorer: the scorer.
        prompts: the prompt of each solution.
        solutions: lists of steps.
        tolerance: allowed difference, relative to the largest score.

    Raises:
        LawBroken: it does not.
    """
    law = "a session scores as score() does"
    distinct = list(dict.fromkeys(prompts))
    groups = [[k for k, x in enumerate(prompts) if x == prompt] for prompt in distinct]
    session = scorer.start_session(distinct)
    first = session.score([[solutions[k][:1] for k in group] for group in groups])
    order = [k for group in groups for k in group]
    starts = scorer.score([prompts[k] for k in order], [solutions[k][:1] for k in order])
    _compare(law, [x for group in first for x in group], starts, tolerance)

    place = {k: (i, j) for i, group in enumerate(groups) for j, k in enumerate(group)}
    longer = [k for k in reversed(order) if len(solutions[k]) > 1]
    session.select([*(place[k] for k in longer), *(place[k] for k in longer[:1])])
    candidates = [[solutions[k][1:2], solutions[k][1:]] for k in longer]
    second = session.score([*candidates, *([[]] if longer else [])], keep_cache=False)
    for k, found in zip(longer, second, strict=False):
        lists = [solutions[k][:2], solutions[k]]
        whole = scorer.score([prompts[k]] * 2, lists)
        # A score of the whole solution is a new one each time.
        per_step = len(whole[0]) == 2
        _compare(law, found, [scores[per_step:] for scores in whole], tolerance)


def _compare(
    law: str, found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float
) -> None:
    """Raise unless scores are equal, up to ``tolerance`` of the largest magnitude among them."""
    scale = max((float(x.abs().max()) for x in expected if x.numel()), default=0.0)
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape or bool(((a - b).abs() > tolerance * scale).any()):
            raise LawBroken(f"{law}: got {a.tolist()} and {b.tolist()} for solution {k}")
