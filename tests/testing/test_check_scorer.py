"""``check_scorer`` passes a scorer that keeps the laws, and names a law that is broken."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from reason_decode import Scorer
from reason_decode.scorers import ScoreSpace, Session, to_steps
from reason_decode.scorers.rescoring import RescoringSession
from reason_decode.testing import LawBroken, check_scorer


class Length(Scorer):
    """Scores a step by its length; keeps every law."""

    score_space: ScoreSpace = "log_probability"

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        listed = to_steps(solutions, self.splitter)
        return [torch.tensor([-float(len(step)) for step in steps]) for steps in listed]


class Whole(Length):
    """One score a solution."""

    def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
        return [x.sum()[None] if len(x) else x for x in super().score(prompts, solutions)]


@pytest.mark.parametrize("kind", [Length, Whole])
def test_a_scorer_of_score_and_score_space_keeps_the_laws(kind: type[Scorer]) -> None:
    check_scorer(kind())


def test_all_steps_may_be_single() -> None:
    check_scorer(Length(), ["p", "p", "q"], [["a"], ["bb"], ["ccc"]])


def changed(change: Callable[..., Any]) -> Scorer:
    """A scorer whose scores are changed, given the solutions."""

    class Broken(Length):
        def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
            return change(super().score(prompts, solutions), prompts, solutions)

    return Broken()


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "one too few": (lambda found, *_: found[1:], "got 3 tensors for 4 solutions"),
    "doubles": (lambda found, *_: [x.double() for x in found], "got torch.float64 for solution 0"),
    "lists": (lambda found, *_: [x.tolist() for x in found], "got list for solution 0"),
    "two scores": (lambda found, *_: [torch.zeros(2) for _ in found], r"shape \(2,\) for the 3"),
    "nan": (lambda found, *_: [x * torch.nan for x in found], r"got \[nan, nan, nan\] for solut"),
    "positive": (lambda found, *_: [-x for x in found], "scores are what score_space says"),
    "a score of nothing": (
        lambda found, *_: [x if len(x) else torch.zeros(1) for x in found],
        "a solution without steps has no scores",
    ),
    "batches": (
        lambda found, *_: [x * len(found) for x in found],
        "a batch scores as its members do one by one",
    ),
    "order": (
        lambda found, prompts, _: [x - prompts.index(prompts[-1]) for x in found],
        "one by one|the order of a batch",
    ),
    "texts": (
        lambda found, _, solutions: [
            x - float(isinstance(text, str)) for x, text in zip(found, solutions, strict=True)
        ],
        "a text scores as the list of its steps",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_law_is_named(name: str) -> None:
    change, message = BROKEN[name]
    with pytest.raises(LawBroken, match=message):
        check_scorer(changed(change))


def test_a_session_that_confuses_trajectories_is_found() -> None:
    class Forgetful(RescoringSession):
        def select(self, choice: Sequence[tuple[int, int]]) -> None:
            super().select(sorted(choice))

    class Context(Length):
        """A step's score depends on the steps before it."""

        def score(self, prompts: Sequence[str], solutions: Sequence[Any]) -> list[Tensor]:
            return [x.cumsum(0) for x in super().score(prompts, solutions)]

        def start_session(self, prompts: Sequence[str]) -> Session:
            return Forgetful(self, prompts)

    with pytest.raises(LawBroken, match=r"a session scores as score\(\) does"):
        check_scorer(Context())


def test_a_difference_is_measured_by_the_largest_score() -> None:
    noisy = changed(lambda found, *_: [x * (1 + 1e-3 * (len(found) == 1)) for x in found])
    check_scorer(noisy, tolerance=2e-3)
    with pytest.raises(LawBroken):
        check_scorer(noisy)


def test_what_is_no_scorer_is_refused() -> None:
    other: Any = object()
    with pytest.raises(ValueError, match="inherits from reason_decode.Scorer"):
        check_scorer(other)
