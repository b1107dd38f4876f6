"""Options of labelling solutions by a scorer or by rollouts."""

import math
from dataclasses import dataclass, field

from reason_decode.core.model_options import PromptOptions
from reason_decode.core.solution_options import ThoughtOptions

__all__ = ["LabelConfig"]


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Options of labelling the steps of solutions without people.

    Args:
        scorer: label by this process reward model: ``tiny``, a folder or a Hub id.
        model: label by rollouts of this generator: ``tiny``, a folder or a Hub id; the solutions
            need answers.
        threshold: by a scorer, the probability of being right from which on a step is right
            (default: 0.5); by rollouts, the share of right ones that must be exceeded (default: 0).
        rollouts: rollouts a step.
        max_new_tokens: tokens of a rollout.
        temperature: sampling temperature of rollouts.
        separator: what ends a step.
        seed: seed of the rollouts.
        batch_size: solutions that are labelled, and kept, at a time.
        prompting: by rollouts, how prompts are rendered.
        thoughts: the thoughts in solutions; a scorer labels the part that it reads.

    Raises:
        ValueError: not exactly one of ``scorer`` and ``model`` is given, or a number is out of
            range.

    Examples:
        >>> LabelConfig(scorer="tiny").resolved_threshold
        0.5
    """

    scorer: str | None = None
    model: str | None = None
    threshold: float | None = None
    rollouts: int = 8
    max_new_tokens: int = 256
    temperature: float = 1.0
    separator: str = "\n"
    seed: int = 0
    batch_size: int = 64
    prompting: PromptOptions = field(default_factory=PromptOptions)
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)

    def __post_init__(self) -> None:
        if (self.scorer is None) == (self.model is None):
            raise ValueError(
                f"got scorer={self.scorer} and model={self.model}; give one of them: the reward "
                "model that labels (--scorer), or the generator whose rollouts do (--model)"
            )
        for name in ("rollouts", "max_new_tokens", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"got {name}={value}; need at least 1")
        if self.thoughts.score_part != "both" and self.scorer is None:
            raise ValueError(
                f"got score_part={self.thoughts.score_part!r} with rollouts, which continue all of "
                "a solution; drop it, or label by a scorer"
            )
        if self.prompting != PromptOptions() and self.model is None:
            raise ValueError(
                f"got {self.prompting} with a scorer, which renders prompts itself; these are "
                "options of rollouts (--model)"
            )
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"got temperature={self.temperature}; need a number above 0")
        threshold = self.resolved_threshold
        if not math.isfinite(threshold):
            raise ValueError(f"got threshold={threshold}; need a finite number")
        if self.model is not None and not 0 <= threshold < 1:
            raise ValueError(f"got threshold={threshold}; need a share of rollouts in [0, 1)")

    @property
    def resolved_threshold(self) -> float:
        """The threshold, or its default."""
        if self.threshold is not None:
            return self.threshold
        return 0.0 if self.scorer is None else 0.5
