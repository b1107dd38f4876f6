"""Checks of what scorers are given and of what they return."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reason_decode.core.errors import ScoringError
from reason_decode.core.steps import StepSplitter

__all__ = [
    "NonFiniteScoreError",
    "candidate_names",
    "check_finite",
    "check_pairs",
    "check_text",
    "to_steps",
]


class NonFiniteScoreError(ScoringError):
    """A score is NaN or infinite."""


def check_finite(scores: Sequence[Tensor], names: Sequence[str]) -> None:
    """Raise if a score is NaN or infinite: it would win or lose every comparison silently.

    Args:
        scores: float (s,) for each solution.
        names: the name of each solution, for the message.

    Raises:
        NonFiniteScoreError: such a score; the message names the solution and the step.
    """
    for name, tensor in zip(names, scores, strict=True):
        bad = (~torch.isfinite(tensor)).nonzero()
        if len(bad):
            step = int(bad[0])
            raise NonFiniteScoreError(
                f"got score {tensor[step].item()} for step {step} of {name}; scores must be "
                "finite. Check the scorer's weights and dtype (float16 overflows where bfloat16 "
                "does not)"
            )


def candidate_names(candidates: Sequence[Sequence[object]]) -> list[str]:
    """Names of candidates for messages, in order: ``candidate j of trajectory i``."""
    return [
        f"candidate {j} of trajectory {i}"
        for i, group in enumerate(candidates)
        for j in range(len(group))
    ]


def check_pairs(prompts: Sequence[str], solutions: Sequence[object]) -> None:
    """Raise unless both are lists of the same length and every prompt is text.

    Args:
        prompts: the prompt of each solution.
        solutions: the solutions.

    Raises:
        ValueError: the lengths differ, one of the two is a text, or a prompt is no text.
    """
    # A text is a sequence of texts too: one solution would become one for each letter.
    for name, given in (("prompts", prompts), ("solutions", solutions)):
        if isinstance(given, str):
            raise ValueError(f"got one text as {name}; pass a list: {name}=[{given[:40]!r}]")
    for k, prompt in enumerate(prompts):
        check_text(prompt, f"prompt {k}")
    if len(prompts) != len(solutions):
        raise ValueError(
            f"got {len(prompts)} prompts for {len(solutions)} solutions; pass one prompt each"
        )


def check_text(text: object, name: str) -> None:
    """Raise unless a tokenizer can read this.

    Args:
        text: what should be text.
        name: its name, for the message.

    Raises:
        ValueError: it is no text, or holds a lone surrogate (half a character), as damaged JSON
            does.
    """
    if not isinstance(text, str):
        raise ValueError(f"got {text!r:.60} as {name}; need text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"got {name} with half a character ({error}); drop it, or repair it: "
            "text.encode(errors='replace').decode()"
        ) from error


def to_steps(solutions: Sequence[str | Sequence[str]], splitter: StepSplitter) -> list[list[str]]:
    """The steps of each solution: text is split, lists of steps are taken as they are.

    Args:
        solutions: texts or lists of steps.
        splitter: splits the texts.

    Raises:
        ValueError: a step of a list is blank, or something is no text or holds half a character.
    """
    listed: list[list[str]] = []
    for i, solution in enumerate(solutions):
        if isinstance(solution, str):
            check_text(solution, f"solution {i}")
            listed.append(splitter.split(solution))
            continue
        if not isinstance(solution, Sequence):
            raise ValueError(f"got {solution!r:.60} as solution {i}; need text, or a list of steps")
        for k, step in enumerate(solution):
            check_text(step, f"step {k} of solution {i}")
        blank = [k for k, step in enumerate(solution) if not step.strip()]
        if blank:
            raise ValueError(
                f"got a blank step (number {blank[0]}) in solution {i}; every step needs text. "
                "Drop blank steps, or pass the solution as one string and let it be split"
            )
        listed.append(list(solution))
    return listed
