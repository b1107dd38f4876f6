"""The contract of every scorer, and how step scores become one number."""

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from reason_decode.core.errors import ScoringError
from reason_decode.core.steps import StepSplitter

Reduce = Literal["prod", "min", "last", "mean"]


class Session(Protocol):
    """A scorer that remembers what it has read of each trajectory.

    It starts with one trajectory a prompt. ``score`` reads candidates for each trajectory's next
    steps; ``keep`` says which of them become the trajectories of the next round.
    """

    @property
    def tokens(self) -> int:
        """Tokens read so far."""
        ...

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], remember: bool = True
    ) -> list[list[Tensor]]:
        """Score candidates: ``candidates[i][j]`` are new steps that continue trajectory i.

        Args:
            candidates: steps, without separators.
            remember: whether ``keep`` may follow; without, nothing is held of what was read.

        Returns:
            float32 scores of the new steps, (s,), nested like ``candidates``.
        """
        ...

    def keep(self, choice: Sequence[tuple[int, int]]) -> None:
        """Go on with these ``(trajectory, candidate)`` pairs of the last ``score``, in order."""
        ...


class Scorer(Protocol):
    """Judges solutions of prompts.

    Laws: a batch scores as its members do one by one; order and padding change nothing; a session
    scores as ``score`` does.
    """

    splitter: StepSplitter
    """Where this scorer's steps end."""

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution: float32 (s,), one a step, or (1,) from outcome scorers."""
        ...

    def open(self, prompts: Sequence[str]) -> Session:
        """A session over trajectories that begin with the prompts."""
        ...


def reduce_scores(scores: Sequence[Tensor], how: Reduce = "prod") -> Tensor:
    """One number a solution: ``prod(s)``, ``min(s)``, ``s[-1]`` or ``mean(s)`` over its steps.

    A solution without steps reduces to 0.0: nothing in it was found right. The product is what
    Let's Verify Step by Step uses (Lightman et al. 2023, 2305.20050, section 2.6).

    Args:
        scores: float32 (s,) each.
        how: the reduction.

    Returns:
        float32 (n,).

    Raises:
        ValueError: an unknown reduction.
    """
    check_reduce(how)
    return torch.stack([_reduced(x.float(), how) for x in scores]) if scores else torch.zeros(0)


def check_reduce(how: str, scorer: object = None) -> None:
    """Raise unless ``how`` names a reduction, and one that the scorer's scores allow.

    Raises:
        ValueError: it does not, or scores ``in_nats`` are to be multiplied.
    """
    if how not in get_args(Reduce):
        raise ValueError(f"got reduce={how!r}; allowed are {', '.join(get_args(Reduce))}")
    if how == "prod" and getattr(scorer, "in_nats", False):
        raise ValueError(
            f"got reduce='prod' for a {type(scorer).__name__}, whose scores are log-probabilities "
            "and are not to be multiplied; pass reduce='mean', 'min' or 'last'"
        )


def _reduced(scores: Tensor, how: Reduce) -> Tensor:
    if len(scores) == 0:
        return scores.new_zeros(())
    if how == "last":
        return scores[-1]
    return {"prod": torch.prod, "min": torch.min, "mean": torch.mean}[how](scores)


class NotFinite(ScoringError):
    """A score is NaN or infinite."""


def check_finite(scores: Sequence[Tensor], names: Sequence[str]) -> None:
    """Raise if a score is NaN or infinite, naming the solution and the step.

    Raises:
        NotFinite: such a score; it would win or lose every comparison without a word.
    """
    for name, tensor in zip(names, scores, strict=True):
        bad = (~torch.isfinite(tensor)).nonzero()
        if len(bad):
            step = int(bad[0])
            raise NotFinite(
                f"got score {tensor[step].item()} for step {step} of {name}; scores must be "
                "finite. Check the scorer's weights and dtype (float16 overflows where bfloat16 "
                "does not)"
            )


def check_pairs(prompts: Sequence[str], solutions: Sequence[object]) -> None:
    """Raise unless there is one prompt, a text, a solution.

    Raises:
        ValueError: there is not.
    """
    # A text is a sequence of texts too, and one solution would become one a letter.
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
    """Raise unless this is text that a tokenizer can read.

    Raises:
        ValueError: it is no text, or holds half a character (a lone surrogate, as damaged JSON
            has).
    """
    if not isinstance(text, str):
        raise ValueError(f"got {text!r:.60} as {name}; need text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"got {name} with half a character ({error}); drop it, or mend it: "
            "text.encode(errors='replace').decode()"
        ) from error


def to_steps(solutions: Sequence[str | Sequence[str]], splitter: StepSplitter) -> list[list[str]]:
    """The steps of each solution: text is split, lists are taken as they are.

    Raises:
        ValueError: a listed step is blank, so that there is nothing in it to judge; or something is
            no text, or holds half a character.
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
