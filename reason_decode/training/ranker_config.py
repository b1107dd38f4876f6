"""Settings of the trainers of rankers; importing this module loads no torch."""

from dataclasses import dataclass
from typing import Literal

from reason_decode.training.config import FreezableConfig, check_positive

__all__ = ["NGramRankerConfig", "RankerConfig", "RankingLoss"]

RankingLoss = Literal["cubic", "logistic", "pointwise"]
"""With ``s = sigmoid(z)`` the score of a solution: over pairs ``(1 - s_pos)^3 + s_neg^3`` or ``-log
sigmoid(z_pos - z_neg)``, over single solutions ``-log s_pos`` and ``-log(1 - s_neg)``."""


@dataclass(frozen=True, kw_only=True)
class RankerConfig(FreezableConfig):
    """Settings of ``train_ranker``; an example is a problem with all its solutions.

    Args:
        batch_size: problems per forward pass.
        bf16: compute in bfloat16 by autocast, while the weights keep their dtype; ignored on a CPU
            without bfloat16 instructions, which would emulate them, many times slower.
        loss: loss of pairs of a right and a wrong solution, ``cubic`` (published) or ``logistic``
            (Bradley-Terry); ``pointwise``, the cross-entropy of single solutions, also learns from
            problems whose solutions are all right or all wrong.
        window: tokens that an encoder reads: the ends of the prompt and of the solution, where the
            answer is.
        max_solutions_per_problem: solutions of a problem that are compared at a time.
        separator: text that ends a step.
        chat: format prompts with the tokenizer's chat template; ``None``: if there is one.

    Raises:
        ValueError: a number is not positive, or a value is not allowed.

    Examples:
        >>> from reason_decode.training import RankerConfig
        >>> RankerConfig(loss="logistic").batch_size
        4
    """

    batch_size: int = 4
    bf16: bool = True
    loss: RankingLoss = "cubic"
    window: int | None = 128
    max_solutions_per_problem: int = 16
    separator: str = "\n"
    chat: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "window")
        if self.max_solutions_per_problem < 2:
            raise ValueError(
                f"got max_solutions_per_problem={self.max_solutions_per_problem}; a right and a "
                "wrong solution need at least 2"
            )


@dataclass(frozen=True, kw_only=True)
class NGramRankerConfig:
    """Settings of ``train_ngram_ranker``.

    Args:
        weight_decay: strength of the L2 penalty.
        max_steps: iterations of L-BFGS.
        min_count: solutions in which a feature must occur to be learned.
        separator: text that ends a step.

    Raises:
        ValueError: a number is not positive.

    Examples:
        >>> from reason_decode.training import NGramRankerConfig
        >>> NGramRankerConfig().min_count
        8
    """

    weight_decay: float = 4e-4
    max_steps: int = 60
    min_count: int = 8
    separator: str = "\n"

    def __post_init__(self) -> None:
        check_positive(self, "max_steps", "min_count")
        if self.weight_decay < 0:
            raise ValueError(f"got weight_decay={self.weight_decay}; it must be at least 0")
