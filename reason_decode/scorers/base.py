"""The contract of scorers: ``Scorer`` and ``Session``, and the numbers that they return.

``reduce_scores`` makes one number of the
scores of a solution's steps; ``check_finite`` refuses NaN and infinity.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from reason_decode.core.errors import ScoringError
from reason_decode.core.options import Reduce
from reason_decode.core.splitting import StepSplitter
from reason_decode.core.voting import VoteWeighting
from reason_decode.generation.token_stats import TokenStats

__all__ = [
    "NonFiniteScoreError",
    "ScoreSpace",
    "Scorer",
    "Session",
    "candidate_names",
    "check_finite",
    "check_reduce",
    "check_scorer_argument",
    "default_reduce",
    "reduce_scores",
]

ScoreSpace = Literal["probability", "log_probability", "reward"]
"""``"probability"``: in [0, 1]. ``"log_probability"``: at most 0, in nats. ``"reward"``: any real
number. In each, higher is better."""

Candidates = Sequence[Sequence[str | Sequence[str]]]
"""``candidates[i][j]``: new steps, without separators, that continue trajectory i; or their text,
which is split into steps."""

_DEFAULT_REDUCE: dict[ScoreSpace, Reduce] = {
    "probability": "prod",
    "log_probability": "mean",
    "reward": "last",
}
_LOWEST_SCORE = torch.finfo(torch.float32).min


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
            candidates: ``candidates[i][j]`` are new steps that continue trajectory i, or their
                text. A scorer of whole solutions reads a text as it is.
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
        per_step: whether each step has a score of its own. A scorer of whole solutions is given
            their texts as they were generated, where they are complete.
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
    per_step: bool = True
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
        # It is a session of any scorer, so its module imports this one.
        from reason_decode.scorers.rescoring import RescoringSession

        return RescoringSession(self, prompts)

    def reads_generation(self, model: object) -> bool:
        """True if ``score_generated`` scores what this model generates, without a further pass."""
        return False

    def score_generated(self, solutions: Sequence[Sequence[TokenStats]]) -> list[Tensor]:
        """Scores of solutions by the logits that they were sampled from, as of ``score``.

        Strategies call it in place of ``score`` where ``reads_generation`` is true.

        Args:
            solutions: for each solution the statistics of its steps' tokens.
        """
        raise NotImplementedError(f"{type(self).__name__} does not read the generator's logits")

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


def reduce_scores(
    scores: Sequence[Tensor], reduce: Reduce = "prod", score_space: ScoreSpace = "probability"
) -> Tensor:
    """One number a solution: ``prod(s)``, ``min(s)``, ``s[-1]``, ``mean(s)`` or ``sum(s)``.

    A solution without steps reduces to the lowest number of the space: 0 for probabilities, the
    lowest float32 for log-probabilities and rewards. So it never wins over one that has steps.

    Args:
        scores: float32 (s,) for each solution, over its steps.
        reduce: the reduction.
        score_space: what the scores are.

    Returns:
        float32 (n,).

    Raises:
        ValueError: there is no such reduction, or ``score_space`` does not allow it.

    Source: the product is what Let's Verify Step by Step uses (Lightman et al. 2023, 2305.20050,
    section 2.6).

    Examples:
        >>> import torch
        >>> from reason_decode.scorers import reduce_scores
        >>> reduce_scores([torch.tensor([0.5, 0.5]), torch.zeros(0)], "prod")
        tensor([0.2500, 0.0000])
    """
    _check_reduce(reduce, score_space)
    empty = 0.0 if score_space == "probability" else _LOWEST_SCORE
    totals = [_reduce_one(x.float(), reduce) if len(x) else torch.tensor(empty) for x in scores]
    return torch.stack(totals) if totals else torch.zeros(0)


def default_reduce(scorer: Scorer) -> Reduce:
    """The reduction that is natural for a scorer's ``score_space``.

    ``"prod"`` for probabilities, ``"mean"`` for log-probabilities, ``"last"`` for rewards.
    """
    return _DEFAULT_REDUCE[scorer.score_space]


def check_reduce(reduce: str | None, scorer: Scorer) -> None:
    """Raise unless a reduction exists and the scorer's ``score_space`` allows it.

    Args:
        reduce: the reduction; ``None`` for the natural one, which is always allowed.
        scorer: gives the scores.

    Raises:
        ValueError: there is no such reduction, or scores are to be multiplied that are not
            probabilities: the product of two negative numbers is the greater, the worse they are.
    """
    if reduce is not None:
        _check_reduce(reduce, scorer.score_space, f" of {type(scorer).__name__}")


def _check_reduce(reduce: str, score_space: ScoreSpace, whose: str = "") -> None:
    if reduce not in get_args(Reduce):
        raise ValueError(f"got reduce={reduce!r}; allowed are {', '.join(get_args(Reduce))}")
    if reduce == "prod" and score_space != "probability":
        kind = "log-probabilities" if score_space == "log_probability" else "rewards"
        same = "'sum' (the log of the product), " if score_space == "log_probability" else ""
        raise ValueError(
            f"got reduce='prod' for {kind}{whose}, whose product says nothing; pass "
            f"reduce={same}'mean', 'min' or 'last'"
        )


def _reduce_one(scores: Tensor, reduce: Reduce) -> Tensor:
    if reduce == "last":
        return scores[-1]
    functions = {"prod": torch.prod, "min": torch.min, "mean": torch.mean, "sum": torch.sum}
    return functions[reduce](scores)


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
