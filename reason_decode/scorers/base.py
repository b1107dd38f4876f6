"""The contract of scorers: ``Scorer`` and ``Session``, and the session built from ``score``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from reason_decode.core.steps import StepSplitter
from reason_decode.core.voting import VoteWeighting
from reason_decode.scorers.checks import candidate_names, check_finite, to_steps

__all__ = ["RescoringSession", "ScoreSpace", "Scorer", "Session", "check_scorer_argument"]

ScoreSpace = Literal["probability", "log_probability", "reward"]
"""``"probability"``: in [0, 1]. ``"log_probability"``: at most 0, in nats. ``"reward"``: any real
number. In each, higher is better."""

Candidates = Sequence[Sequence[Sequence[str]]]
"""``candidates[i][j]``: new steps, without separators, that continue trajectory i."""


class Session(ABC):
    """Scores of trajectories that grow step by step.

    It starts with one trajectory for each prompt. ``score`` scores candidates for the next steps
    of each trajectory; ``select`` makes some of them the trajectories of the next round.

    Args:
        prompts: the prompt that each trajectory begins with.

    Attributes:
        prompts: the prompt of each current trajectory.
        tokens_read: tokens that went through the scorer's models so far; 0 if nobody counts them.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        self.prompts, self.tokens_read = list(prompts), 0

    @abstractmethod
    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate.

        Args:
            candidates: ``candidates[i][j]`` are new steps that continue trajectory i.
            keep_cache: whether ``select`` may follow; if not, nothing that was read is held.

        Returns:
            float32 (s,) for each candidate, one score a new step; (1,) from a scorer that gives a
            whole solution one score. Nested like ``candidates``.
        """

    @abstractmethod
    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with these candidates of the last ``score``.

        Args:
            choice: ``(trajectory, candidate)`` indices in the order of the new trajectories; an
                index may appear several times.
        """

    def before_round(self) -> list[str | None]:
        """Texts that the scorer writes before the next step of each trajectory, for the trace.

        ``None`` where it writes none, which is the default.
        """
        return [None] * len(self.prompts)

    def context_to_append(self) -> list[str | None]:
        """Texts that the generator reads before it samples the next step of each trajectory.

        ``None`` where it reads nothing, which is the default. Called after ``before_round``.
        """
        return [None] * len(self.prompts)


class Scorer(ABC):
    r"""Scores solutions of prompts: higher is better.

    A subclass sets ``score_space`` and writes ``score``; everything else has a default. Every
    scorer keeps these laws, which ``reason_decode.testing.check_scorer`` checks: a batch scores as
    its members do one by one; order and padding change nothing; a session scores as ``score`` does.

    Attributes:
        score_space: meaning of the scores, by which strategies decide how to combine them.
        splitter: splits a solution into this scorer's steps.
        vote_weighting: formula for the weight of a solution's vote; ``None``: the score itself if
            it is a probability, its exponential if it is a log-probability; rewards weigh no votes.
        prompt_suffix: required end of a prompt, for scorers that read prompt and steps as one text.

    Examples:
        >>> import torch
        >>> from reason_decode import BestOfN, Scorer, tiny
        >>> from reason_decode.scorers import to_steps
        >>> class Brevity(Scorer):
        ...     score_space = "reward"
        ...
        ...     def score(self, prompts, solutions):
        ...         steps = to_steps(solutions, self.splitter)
        ...         return [torch.tensor([-float(len(step)) for step in x]) for x in steps]
        >>> Brevity().score(["1 + 2 =\n"], ["3"])
        [tensor([-1.])]
        >>> strategy = BestOfN(Brevity(), tokenizer=tiny.load().tokenizer, n=8)
    """

    score_space: ScoreSpace
    splitter: StepSplitter = StepSplitter()
    vote_weighting: VoteWeighting | None = None
    prompt_suffix: str = ""

    @abstractmethod
    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution.

        Args:
            prompts: the prompt of each solution.
            solutions: texts, to be split into steps, or lists of steps; ``to_steps`` accepts both.

        Returns:
            For each solution float32 (s,), one score a step, or (1,), one for the whole solution;
            (0,) for a solution without steps.
        """

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session over trajectories that begin with the prompts.

        By default each round calls ``score`` on the whole trajectories.
        """
        return RescoringSession(self, prompts)

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps that fit into the scorer's context; by default all of them.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        return len(steps)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments, as plain JSON, that rebuild this scorer with ``from_pretrained``.

        Raises:
            ValueError: the scorer cannot be saved, which is the default.
        """
        raise ValueError(
            f"got a {type(self).__name__}, which cannot be saved: it has no settings(). Pass the "
            "strategy itself to custom_generate, or give the class settings(), which returns the "
            "keyword arguments of its constructor or, if it has one, of its from_pretrained"
        )

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> "Scorer":
        """The scorer that ``settings`` describes; by default from its constructor's arguments."""
        return cls(*args, **kwargs)


class RescoringSession(Session):
    """A session built from ``score`` alone: each round scores the whole trajectories.

    Args:
        scorer: scores the trajectories.
        prompts: the prompt that each trajectory begins with.
    """

    def __init__(self, scorer: Scorer, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.scorer = scorer
        self.trajectories: list[list[str]] = [[] for _ in self.prompts]
        self._candidates: list[list[list[str]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, a score that is not finite, or a number of scores that is
                neither 1 nor that of the steps.
        """
        new = [to_steps(group, self.scorer.splitter) for group in candidates]
        whole = [
            [[*before, *steps] for steps in group]
            for before, group in zip(self.trajectories, new, strict=True)
        ]
        prompts = [prompt for prompt, group in zip(self.prompts, whole, strict=True) for _ in group]
        flat = self._score_whole(prompts, [steps for group in whole for steps in group])
        check_finite(flat, candidate_names(whole))
        rest = iter(flat)
        scores = [
            [self._new_scores(next(rest), len(before), len(steps)) for steps in group]
            for before, group in zip(self.trajectories, whole, strict=True)
        ]
        self._candidates = whole if keep_cache else []
        return scores

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self.trajectories = [self._candidates[i][j] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []

    def _score_whole(
        self, prompts: Sequence[str], solutions: Sequence[Sequence[str]]
    ) -> list[Tensor]:
        return self.scorer.score(prompts, solutions)

    def _new_scores(self, scores: Tensor, before: int, steps: int) -> Tensor:
        """The scores of the steps from ``before`` on; one score of the whole stays as it is."""
        if len(scores) == steps:
            return scores[before:]
        if len(scores) != 1:
            raise ValueError(
                f"got {len(scores)} scores for {steps} steps from {type(self.scorer).__name__}; "
                "score() must return one score for each step, or one for the whole solution"
            )
        return scores


def check_scorer_argument(name: str, scorer: object) -> None:
    """Raise unless an argument is a scorer with a known ``score_space``.

    Args:
        name: the argument's name, for the message.
        scorer: what was passed.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(scorer, Scorer):
        raise ValueError(
            f"got {name}={scorer!r:.80}; pass a loaded scorer, such as "
            "ProcessRewardModel.from_pretrained(...), or an object of a class of your own that "
            "inherits from reason_decode.Scorer"
        )
    try:
        space = scorer.score_space
    except AttributeError:
        space = None
    if space not in get_args(ScoreSpace):
        raise ValueError(
            f"got {name} of {type(scorer).__name__} with score_space={space!r}; allowed are "
            f"{', '.join(map(repr, get_args(ScoreSpace)))}: set it in the class"
        )
