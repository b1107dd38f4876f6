"""Options of reading solutions: where their steps end, and what of them is a thought."""

from dataclasses import dataclass
from typing import Any

from reason_decode.core.splitting import StepSplitter
from reason_decode.core.thinking import (
    ScorePart,
    ThinkingTags,
    check_score_part,
    check_thinking_tags,
)

__all__ = ["SolutionOptions", "ThoughtOptions"]


@dataclass(frozen=True, kw_only=True)
class ThoughtOptions:
    """Options of the thoughts in solutions.

    Args:
        thinking_tags: the texts before and after a thought, such as ``<reason> </reason>``
            (default: found in the model's chat template, else ``<think> </think>``).
        score_part: the part of a solution that the scorer reads: ``both``, the text as it was
            generated; ``answer``, what follows the thought; ``thought``.

    Raises:
        ValueError: the tags are not two texts, or there is no such part.
    """

    thinking_tags: tuple[str, ...] = ()
    score_part: ScorePart = "both"

    def __post_init__(self) -> None:
        _ = self.tags
        check_score_part(self.score_part)

    @property
    def tags(self) -> ThinkingTags | None:
        """The tags; ``None`` where they are not given."""
        return check_thinking_tags(self.thinking_tags or None)


@dataclass(frozen=True, kw_only=True)
class SolutionOptions:
    r"""Options of splitting solutions into steps.

    Args:
        step_separator: text that ends a step, or several; ``\n`` is a newline (default: as the
            scorer has it).
        step_pattern: regular expression whose matches end steps.
        step_tokens: number of tokens of a step.

    Raises:
        ValueError: more than one of the ways to split is given, or one is no separator, pattern or
            number.
    """

    step_separator: tuple[str, ...] = ()
    step_pattern: str | None = None
    step_tokens: int | None = None

    def __post_init__(self) -> None:
        _ = self.splitter

    @property
    def splitter(self) -> StepSplitter | None:
        """The splitter of these options; ``None`` where none is given."""
        separators: Any = tuple(x.replace("\\n", "\n") for x in self.step_separator) or None
        if separators is None and self.step_pattern is None and self.step_tokens is None:
            return None
        if separators is not None and len(separators) == 1:
            (separators,) = separators
        return StepSplitter(separators, pattern=self.step_pattern, tokens=self.step_tokens)
